"""Judges DKIM signatures with Debian's python3-dkim.

  dkim_verdicts.py DIRECTORY    every good-*.eml there must verify against record.txt, and no bad-*.eml may
"""

import os
import sys

import dkim


def verdict(octets, record):
    """True when the message has a signature that verifies; the record is what DNS would say."""
    try:
        return dkim.verify(octets, dnsfunc=lambda name, timeout=5: record)
    except dkim.DKIMException:
        return False


def main():
    directory = sys.argv[1]
    with open(os.path.join(directory, "record.txt"), "rb") as f:
        record = f.read()
    judged, wrong = 0, 0
    for name in sorted(os.listdir(directory)):
        if name.endswith(".eml"):
            with open(os.path.join(directory, name), "rb") as f:
                octets = f.read()
            judged += 1
            if verdict(octets, record) != name.startswith("good"):
                wrong += 1
                if wrong <= 3:
                    print(f"{name}: {octets!r}")
    print(f"{judged} judged, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
