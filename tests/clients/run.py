#!/usr/bin/env python3
"""Real clients against a real server: each test_* function of the test_*.py files here is one test.

  tests/clients/run.py             all of them, the short versions
  tests/clients/run.py kill mixed  those whose file or name holds one of the words
  tests/clients/run.py --lanes 2   two at a time; those that measure time or memory still run alone, at the end

A test that cannot run here raises Skip with the reason, which is printed. The last line counts.
FASTMAIL names another program than the Release build; KILL_CYCLES, POWER_CYCLES and MIXED_MESSAGES lengthen the long
tests.
"""

import argparse
import glob
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from skip import Skip  # noqa: E402

# What these see depends on who else uses the machine.
ALONE = ("test_disk", "test_failing_disk", "test_jumbo", "test_limits", "test_silence", "test_slow_disk", "test_stop")


def names_of(words):
    """module.function of each test, in the order of the files."""
    for path in sorted(glob.glob(os.path.join(HERE, "test_*.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, _ in inspect.getmembers(module, inspect.isfunction):
            full = f"{module.__name__}.{name}"
            if name.startswith("test_") and (not words or any(word in full for word in words)):
                yield full


def run_one(full):
    """Runs one test and prints how it ended: passed, failed or skipped."""
    module, name = full.split(".")
    folder = tempfile.mkdtemp(prefix="fastmail-")
    began = time.monotonic()
    try:
        getattr(importlib.import_module(module), name)(folder)
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
    print(f"{outcome:8}{name[5:]} ({time.monotonic() - began:.1f} s){why}", flush=True)
    return outcome


def run_in_lanes(names, lanes):
    """The outcome of each test; each has a process of its own, and what that says is printed as one piece."""
    waiting, running, outcomes = list(names), {}, []
    try:
        while waiting or running:
            while waiting and len(running) < lanes:
                said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
                child = subprocess.Popen(
                    [sys.executable, os.path.abspath(__file__), "--one", waiting.pop(0)], stdout=said, stderr=said)
                running[child.pid] = (child, said)
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid not in running:
                time.sleep(0.05)
                continue
            child, said = running.pop(pid)
            said.seek(0)
            text = said.read()
            said.close()
            print(text, end="", flush=True)
            last = [line.split(maxsplit=1)[0] for line in text.splitlines() if line.startswith(("passed ", "failed ", "skipped "))]
            outcomes.append(last[-1] if last else "failed")
    finally:
        for child, _ in running.values():
            child.terminate()
    return outcomes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that mounts and servers are taken away
    if options.one:
        run_one(options.one)
        return 0
    names = list(names_of(options.words))
    alone = names if options.lanes == 1 else [name for name in names if name.split(".")[0] in ALONE]
    outcomes = run_in_lanes([name for name in names if name not in alone], options.lanes)
    outcomes += [run_one(name) for name in alone]
    counts = {outcome: outcomes.count(outcome) for outcome in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
