#!/usr/bin/env python3
"""FastMail beside its landmarks, one run, interleaved: the ceiling (ceiling.c keeps nothing) and the store (store.c, one
flush a group and nothing else). The project's own generator drives all of them with the same messages.

  bench/peers/compare.py [--repetitions 5] [--cases 0,1,2] [--share 1] [--directory DIR] [--fastmail NAME=PROGRAM ...] [--json]
  bench/peers/compare.py --measure half [the same options]

Prints medians of messages a second, CPU of the server a message, the 99th percentile of the acknowledgement, and the
medians of the ratios of each repetition. `half` sends each time once more, at half the rate that the server has just
reached and whatever it answers: percentile and CPU are of that, the percentile from when a message was to leave.

Build first: dotnet build -c Release FastMail.sln
"""

import json
import os
import re
import subprocess

import rounds

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FASTMAIL = os.path.join(ROOT, "src/FastMail.Server/bin/Release/net10.0/fastmail")
LOAD = os.path.join(ROOT, "loadtest/FastMail.LoadTest/bin/Release/net10.0/fastmail-load")
RECIPIENT = "load@peer.test"

# label, connections, octets, further options, messages
CASES = [
    ("20 x 1 KB", 20, 1024, [], 60_000),
    ("200 x 1 KB", 200, 1024, [], 80_000),
    ("20 x 1 KB pipelined", 20, 1024, ["-p", "full"], 120_000),
    ("200 x 1 KB pipelined", 200, 1024, ["-p", "full"], 150_000),
    ("20 x 10 KB", 20, 10_240, [], 30_000),
    ("20 x 100 KB", 20, 102_400, [], 4_000),
    ("200 x 1 KB by BDAT, pipelined", 200, 1024, ["-p", "full", "--bdat"], 150_000),
]

HALF_SECONDS = 10  # of sending at half the rate
WARM_UP_SECONDS = 2  # before that


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    """A running server, its port from the line it prints when it is ready."""

    def __init__(self, name, command, pattern, log):
        self.name = name
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
        with rounds.or_stop(self):
            self.line = self.process.stdout.readline().decode()
            found = re.search(pattern, self.line)
            if not found:
                with open(log, encoding="utf-8", errors="replace") as f:
                    raise SystemExit(f"{name} did not start: {self.line}{f.read()}")
            self.port = int(found.group(1))

    def cpu(self):
        return cpu_seconds(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def landmark(name, work, *arguments):
    program = os.path.join(work, name)
    subprocess.run(["cc", "-O2", "-pthread", "-o", program, os.path.join(HERE, name + ".c")], check=True)
    return Server(name, [program, "0", *arguments], r"ready 127\.0\.0\.1:(\d+)", os.path.join(work, name + ".log"))


def fastmail(name, program, work):
    data = os.path.join(work, "data-" + name)
    subprocess.run([program, "account", "add", RECIPIENT, "--password-stdin", "--data", data], input=b"not used\n",
                   check=True, stdout=subprocess.DEVNULL)
    return Server(name, [program, "serve", "--data", data, "--mx", "127.0.0.1:0", "--submission", "none", "--pop3",
                         "none", "--submissions", "none", "--pop3s", "none", "--set", "limits.exempt=127.0.0.0/8"],
                  r"mx=127\.0\.0\.1:(\d+)", os.path.join(work, name + ".log"))


def drive(server, case, messages, *more, unmeasured=0):
    _, connections, octets, options, _ = case
    before = server.cpu()
    run = subprocess.run([LOAD, "smtp", "--target", f"127.0.0.1:{server.port}", "-c", str(connections), "-n",
                          str(messages), "-s", str(octets), *options, "--to", RECIPIENT, "--seed", "1",
                          "--json", "--quiet", *more], capture_output=True, text=True)
    if run.returncode != 0:
        raise SystemExit(f"{server.name}, {case[0]}: {run.stdout}{run.stderr}")
    result = json.loads(run.stdout)
    return {
        "rate": result["messagesPerSecond"],
        "cpu": (server.cpu() - before) / (messages + unmeasured) * 1e6,
        "p99": result["latencyMicroseconds"]["p99"],
    }


def drive_half(server, case, messages):
    """As fast as it can be first, then half of that."""
    most = drive(server, case, messages)["rate"]
    half = max(1, int(most / 2))
    seconds = max(1, HALF_SECONDS * messages // case[4])
    run = drive(server, case, half * seconds, "--rate", str(half), "--warm-up", f"{WARM_UP_SECONDS}s",
                unmeasured=half * WARM_UP_SECONDS)
    return {**run, "rate": most}


def main():
    parser = rounds.parser(__doc__, CASES)
    parser.add_argument("--measure", choices=("rate", "half"), default="rate")
    parser.add_argument("--share", type=float, default=1.0, help="of each case's messages")
    parser.add_argument("--fastmail", action="append", metavar="NAME=PROGRAM",
                        help="a build to measure; repeatable, to pair two builds")
    arguments = parser.parse_args()
    builds = [text.split("=", 1) for text in arguments.fastmail or [f"fastmail={FASTMAIL}"]]
    with rounds.workplace(arguments.directory) as (work, servers):
        servers.append(landmark("ceiling", work))
        servers.append(landmark("store", work, os.path.join(work, "store.log-file"), "1024"))
        for name, program in builds:
            servers.append(fastmail(name, program, work))  # one by one: what has started is stopped if the next one fails

        def turn(server, case, is_warm_up):
            messages = int(case[4] * arguments.share)
            measure = drive if arguments.measure == "rate" else drive_half
            return measure(server, case, messages // 4 if is_warm_up else messages)

        rounds.run(arguments, servers, turn, {
            "of_ceiling": lambda own, everybody: own["rate"] / everybody["ceiling"]["rate"],
            "of_store": lambda own, everybody: own["rate"] / everybody["store"]["rate"],
        }, "{case:30} {server:10} {rate:9.0f}/s  cpu {cpu:6.1f} us  p99 {p99:8.0f} us  of ceiling {of_ceiling:.2f}  "
           "of store {of_store:.2f}")


if __name__ == "__main__":
    main()
