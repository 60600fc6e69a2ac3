#!/usr/bin/env python3
"""Real clients against a real server: each test_* function of the test_*.py files here is one test.

  tests/clients/run.py             all of them, the short versions
  tests/clients/run.py kill mixed  those whose file or name holds one of the words

A test that cannot run here raises Skip with the reason, which is printed. The last line counts.
FASTMAIL names another program than the Release build; KILL_CYCLES, POWER_CYCLES and MIXED_MESSAGES lengthen the long
tests.
"""

import glob
import importlib
import inspect
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from skip import Skip  # noqa: E402


def main():
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mounts and servers are taken away
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(here, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, test in inspect.getmembers(module, inspect.isfunction):
            if not name.startswith("test_") or (words and not any(w in f"{module.__name__}.{name}" for w in words)):
                continue
            folder = tempfile.mkdtemp(prefix="fastmail-")
            began = time.monotonic()
            try:
                test(folder)
                outcome, why = "passed", ""
            except Skip as reason:
                outcome, why = "skipped", f": {reason}"
            except Exception:  # a test may fail in any way; it is reported and counted
                outcome, why = "failed", "\n" + traceback.format_exc()
                log = os.path.join(folder, "stderr.log")
                if os.path.exists(log):
                    with open(log, encoding="utf-8", errors="replace") as f:
                        why += "server said:\n" + f.read()[-4000:]
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            counts[outcome] += 1
            print(f"{outcome:8}{name[5:]} ({time.monotonic() - began:.1f} s){why}", flush=True)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
