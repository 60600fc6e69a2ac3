#!/usr/bin/env python3
"""How long a server takes from its start until it says ready, and what it holds when nobody asks anything.

  bench/start.py [NAME=PROGRAM ...] [--repetitions 11] [--directory DIR]

The data directory has been started with before, so nothing is made for the first time. Programs take turns. Prints for
each: milliseconds to the ready line (least, median), processor time until then, and after 3 s of rest resident memory
(RSS), its part that is the process's own (private), and the part that is pages of the log in the page cache.
Build first: dotnet build -c Release FastMail.sln; and for the published program
dotnet publish -c Release -r linux-x64 src/FastMail.Server -o DIRECTORY
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "src/FastMail.Server/bin/Release/net10.0/fastmail")
DOORS = ("mx", "submission", "submissions", "pop3", "pop3s")
REST_SECONDS = 3


def processor_time(pid):
    """Seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Megabytes: resident, private, pages of the log."""
    resident = private = log = 0
    is_log = False
    with open(f"/proc/{pid}/smaps", encoding="ascii") as f:
        for line in f:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                is_log = words[-1].endswith(".seg")
            elif words[0] == "Rss:":
                resident += int(words[1])
                log += int(words[1]) if is_log else 0
            elif words[0] in ("Private_Clean:", "Private_Dirty:"):
                private += int(words[1])
    return resident / 1024, private / 1024, log / 1024


def start(program, data, rests):
    began = time.monotonic()
    with open(os.devnull, "w", encoding="ascii") as nothing:
        server = subprocess.Popen(
            [program, "serve", "--data", data, *(f"--{door}=127.0.0.1:0" for door in DOORS)],
            stdout=subprocess.PIPE, stderr=nothing, text=True)
    try:
        line = next((line for line in server.stdout if line.startswith("ready ")), None)
        if line is None:
            raise SystemExit(f"{program} did not start")
        took = time.monotonic() - began
        used = processor_time(server.pid)
        if rests:
            time.sleep(REST_SECONDS)
        return took, used, memory(server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*", metavar="NAME=PROGRAM", default=[f"build={BUILD}"])
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--directory", default=None)
    options = parser.parse_args()
    programs = dict(program.split("=", 1) for program in options.programs)
    folder = tempfile.mkdtemp(prefix="fastmail-start-", dir=options.directory)
    try:
        data = {name: os.path.join(folder, name) for name in programs}
        for name, program in programs.items():
            start(program, data[name], rests=False)
        runs = {name: [] for name in programs}
        for repetition in range(options.repetitions):
            for name, program in programs.items():
                runs[name].append(start(program, data[name], rests=repetition == options.repetitions - 1))
    finally:
        shutil.rmtree(folder)
    for name, found in runs.items():
        took = [1000 * run[0] for run in found]
        resident, private, log = found[-1][2]
        print(f"{name:12} ready after {min(took):.0f} ms (median {statistics.median(took):.0f}), "
              f"processor {1000 * statistics.median(run[1] for run in found):.0f} ms; "
              f"at rest {resident:.0f} MB resident, {private:.0f} private, {log:.0f} of the log")


if __name__ == "__main__":
    main()
