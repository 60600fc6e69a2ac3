#!/usr/bin/env python3
"""The generators beside each other: Postfix's smtp-source and fastmail-load send the same to smtp-sink, interleaved.

  bench/peers/source.py [--repetitions 5] [--cases 0,1] [--json]

Prints medians of messages a second and of messages a second of the generator's own processor time, and the latter's
ratio to smtp-source's in each repetition. smtp-source tells no CPU time, so that of both is taken from the kernel when
they have ended, start and end of the program included. Needs Debian's postfix. Build first: dotnet build -c Release
FastMail.sln
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests/clients"))
import mtas  # noqa: E402
import rounds  # noqa: E402
from compare import LOAD  # noqa: E402

# label, sessions, octets, messages
CASES = [
    ("20 x 1 KB", 20, 1024, 100_000),
    ("100 x 1 KB", 100, 1024, 100_000),
    ("20 x 10 KB", 20, 10_240, 50_000),
]


class Source:
    """smtp-source keeps its connections with -d and never pipelines; so does fastmail-load by default."""

    name = "smtp-source"

    @staticmethod
    def command(port, sessions, octets, messages):
        return ["smtp-source", "-d", "-s", str(sessions), "-m", str(messages), "-l", str(octets),
                "-f", "a@peer.test", "-t", "b@peer.test", f"inet:127.0.0.1:{port}"]

    def stop(self):
        pass  # it runs for each turn


class Load(Source):
    name = "fastmail-load"

    @staticmethod
    def command(port, sessions, octets, messages):
        return [LOAD, "smtp", "--target", f"127.0.0.1:{port}", "-c", str(sessions), "-n", str(messages),
                "-s", str(octets), "--from", "a@peer.test", "--to", "b@peer.test", "--quiet"]


class Sink:
    def __init__(self):
        program = shutil.which("smtp-sink") or "/usr/sbin/smtp-sink"
        if not os.path.exists(program):
            raise SystemExit("smtp-sink is not installed: apt-get install postfix")
        self.port = mtas.free_port()
        self.process = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{self.port}", "1000"])
        with rounds.or_stop(self):
            mtas.wait_for_greeting(self.port, self.process, lambda: "")

    def stop(self):
        rounds.end(self.process)


def drive(generator, port, case, messages):
    _, sessions, octets, _ = case
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(generator.command(port, sessions, octets, messages), stdout=output,
                                   stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)  # its resources, and nobody else's
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode != 0 or re.search(r"fatal|warning", said):
        raise SystemExit(f"{generator.name}, {case[0]}: exit code {process.returncode}: {said}")
    cpu = used.ru_utime + used.ru_stime
    return {"rate": messages / seconds, "per_cpu_second": messages / cpu, "cpu": cpu / messages * 1e6}


def main():
    arguments = rounds.parser(__doc__, CASES).parse_args()
    sink = Sink()
    try:
        rounds.run(
            arguments, [Source(), Load()],
            lambda generator, case, is_warm_up: drive(generator, sink.port, case, case[3] // 10 if is_warm_up else case[3]),
            {"of_source": lambda own, everybody: own["per_cpu_second"] / everybody[Source.name]["per_cpu_second"]},
            "{case:12} {server:14} {rate:9.0f}/s  {per_cpu_second:9.0f} a CPU second  {cpu:6.1f} us each  "
            "{of_source:.2f} of smtp-source")
    finally:
        sink.stop()


if __name__ == "__main__":
    main()
