#!/usr/bin/env python3
"""Relays beside each other, one run, interleaved: fastmail-load sends to each and receives from each with the sink it
brings along. All are durable before their 250: FastMail flushes once a group, Postfix twice a message, Haraka once a
message, and durable_rename.c adds what it leaves out, the flush of its queue file's name.

  bench/peers/relay.py [--repetitions 5] [--cases 0,1] [--peers postfix,haraka] [--directory DIR] [--json]
  bench/peers/relay.py --tools postfix [the same options]
  bench/peers/relay.py --measure half [the same options]
  bench/peers/relay.py --measure dead [--repetitions 5] [--cases 0] [--dead mute|refused]

The first prints medians of messages a second from the first arrival to the last, CPU a message of the whole process
tree, the 99th percentile from submission to arrival, and the ratios of each repetition. With Postfix's tools instead,
smtp-source and smtp-sink, the time is from the first connection to the last arrival, and there are no percentiles. `half`
sends each time once more, at half the rate that the server has just reached, whatever it answers, and prints the percentile
of that. `dead` runs two FastMails: a fifth of the mail is for a host that answers in one, and in the other for one that does
not; it prints how fast the other four fifths arrive.

Needs root, and what install.sh installs. Build first: dotnet build -c Release FastMail.sln
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import mtas  # noqa: E402
import rounds  # noqa: E402
from compare import FASTMAIL, LOAD, Server, cpu_seconds  # noqa: E402
from haraka import Haraka  # noqa: E402
from processes import cpu_of_tree  # noqa: E402

# label, connections, octets, messages for FastMail, messages for the others
CASES = [
    ("20 x 1 KB", 20, 1024, 60_000, 3_000),
    ("100 x 1 KB", 100, 1024, 60_000, 3_000),
    ("20 x 10 KB", 20, 10_240, 30_000, 2_000),
    ("100 x 10 KB", 100, 10_240, 30_000, 2_000),
]

POSTFIX_TUNING = """
default_process_limit = 200
default_destination_concurrency_limit = 100
initial_destination_concurrency = 50
default_destination_recipient_limit = 1
smtp_destination_concurrency_limit = 100
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
qmgr_message_active_limit = 20000
smtp_connection_cache_on_demand = yes
"""


HALF_SECONDS = 20  # of sending at half the rate

DEAD_CASES = [
    ("20 x 1 KB", 20, 1024, 60_000),
    ("100 x 1 KB", 100, 1024, 60_000),
]
DOMAINS = 5  # of those the last has the host that may be dead


class FastMail:
    name = "fastmail"

    def __init__(self, folder, sink, name=None, routes=("relay.test={sink}",)):
        self.name = name or self.name
        self.sink = sink
        data = os.path.join(folder, "data")
        self.server = Server(self.name, [
            FASTMAIL, "serve", "--data", data, "--mx", "127.0.0.1:0", "--submission", "none", "--pop3", "none",
            "--submissions", "none", "--pop3s", "none", "--relay-from", "127.0.0.0/8",
            *(word for route in routes for word in ("--route", route.format(sink=f"127.0.0.1:{sink}"))),
            "--set", "limits.exempt=127.0.0.0/8",
        ], r"mx=127\.0\.0\.1:(\d+)", os.path.join(folder, "fastmail.log"))
        self.port = self.server.port

    def cpu(self):
        return cpu_seconds(self.server.process.pid)

    def stop(self):
        self.server.stop()


class Postfix:
    name = "postfix"

    def __init__(self, folder, sink):
        self.sink = sink
        self.mta = mtas.postfix(folder, sink, POSTFIX_TUNING)
        self.port = self.mta.port

    def cpu(self):
        return cpu_of_tree(self.mta.process.pid)

    def stop(self):
        self.mta.stop()


class HarakaRelay(Haraka):
    def __init__(self, folder, sink):
        self.sink = sink
        super().__init__(folder, f"""'use strict'
exports.hook_rcpt = (next, connection) => {{ connection.relaying = true; next(OK); }};
exports.hook_get_mx = (next) => next(OK, {{ exchange: '127.0.0.1', port: {sink}, priority: 0 }});
""")


PEERS = {peer.name: peer for peer in (Postfix, HarakaRelay)}


def relay(server, case, messages, *more, to="u{n}@relay.test", users=100, settle=60):
    """One run of the load program; its result, and the processor time of the server a message, microseconds."""
    _, connections, octets, *_ = case
    before = server.cpu()
    run = subprocess.run([
        LOAD, "relay", "--target", f"127.0.0.1:{server.port}", "--sink", f"127.0.0.1:{server.sink}", "-c", str(connections),
        "-n", str(messages), "-s", str(octets), "-p", "none", "--to", to, "--users", str(users),
        "--from", "source@relay.test", "--settle", f"{settle}s", "--json", "--quiet", *more,
    ], capture_output=True, text=True)
    if not run.stdout:
        raise SystemExit(f"{server.name}, {case[0]}: {run.stderr}")
    return json.loads(run.stdout), (server.cpu() - before) / messages * 1e6


def drive(server, case, messages, *more):
    result, cpu = relay(server, case, messages, *more)
    if not result["allRelayed"]:
        damaged = result["ledger"]["damaged"]
        if server.name == FastMail.name or result["arrived"] != messages or not damaged:
            raise SystemExit(f"{server.name}, {case[0]}: {result}")
        print(f"{server.name}, {case[0]}: all arrived, but {damaged} of {messages} were changed on their way", file=sys.stderr)
    return {"rate": result["messagesPerSecond"], "cpu": cpu, "p99": result["endToEndMicroseconds"]["p99"]}


class PostfixSink:
    """smtp-sink on the port to which a server relays; it counts what arrives, on its standard output."""

    def __init__(self, port):
        self.output = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{port}", "1000"],
            stdout=self.output, stderr=subprocess.STDOUT)
        with rounds.or_stop(self):
            mtas.wait_for_greeting(port, self.process, self.tail)

    def tail(self):
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), 200, max(0, size - 200)).decode()

    def arrived(self):
        counts = re.findall(r"mesg=(\d+)\r", self.tail())
        return int(counts[-1]) if counts else 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        rounds.end(self.process)
        self.output.close()


def drive_with_postfix(server, case, messages):
    label, connections, octets, *_ = case
    with PostfixSink(server.sink) as sink:
        before, began = server.cpu(), time.monotonic()
        run = subprocess.run(
            ["smtp-source", "-d", "-s", str(connections), "-m", str(messages), "-l", str(octets),
             "-f", "source@relay.test", "-t", "u@relay.test", f"inet:127.0.0.1:{server.port}"],
            capture_output=True, text=True)
        if run.returncode or run.stderr:
            raise SystemExit(f"{server.name}, {label}: {run.stdout}{run.stderr}")
        while sink.arrived() < messages:
            if time.monotonic() - began > 120:
                raise SystemExit(f"{server.name}, {label}: {sink.arrived()} of {messages} arrived: {sink.tail()}")
            time.sleep(0.005)
        seconds = time.monotonic() - began
        return {"rate": messages / seconds, "cpu": (server.cpu() - before) / messages * 1e6}


def drive_at_half(server, case, messages):
    """As fast as it can be first, then half of that."""
    most = drive(server, case, messages)["rate"]
    half = drive(server, case, max(100, int(most / 2 * HALF_SECONDS * messages / whole(server, case))), "--rate",
                 str(max(1, int(most / 2))))
    return {**half, "most": most}


def drive_living(server, case, messages):
    """The rate of those four fifths of the mail whose hosts answer."""
    result, cpu = relay(server, case, messages, to="u@d{n}.test", users=DOMAINS, settle=5)
    arrived, rate = result["arrived"], result["messagesPerSecond"]
    if server.name == "dead":
        expected = messages - messages // DOMAINS
    else:
        expected, rate = messages, rate * (DOMAINS - 1) / DOMAINS
    if arrived != expected:
        raise SystemExit(f"{server.name}, {case[0]}: {arrived} of {expected} arrived: {result}")
    return {"rate": rate, "cpu": cpu, "p99": result["endToEndMicroseconds"]["p99"]}


def whole(server, case):
    return case[3] if server.name == FastMail.name else case[4]


def measure_peers(arguments):
    with rounds.workplace(arguments.directory) as (work, servers):
        for peer in [FastMail] + [PEERS[name] for name in arguments.peers.split(",") if name]:
            servers.append(peer(rounds.folder(work, peer.name), mtas.free_port()))
        is_half = arguments.measure == "half"

        drive_once = drive_at_half if is_half else drive_with_postfix if arguments.tools == "postfix" else drive

        # Long: code is compiled anew in the background, and a young store fills its first spare segments with zeros.
        def turn(server, case, is_warm_up):
            return drive_once(server, case, whole(server, case) * (3 if is_warm_up and not is_half else 1))

        if is_half:
            rounds.run(arguments, servers, turn, {}, "{case:12} {server:9} {most:8.0f}/s at most; at {rate:8.0f}/s  "
                       "cpu {cpu:7.1f} us  p99 {p99:9.0f} us")
        else:
            percentile = "" if arguments.tools == "postfix" else "p99 {p99:9.0f} us  "
            rounds.run(arguments, servers, turn, {
                "fastmail_times": rounds.rate_times(FastMail.name),
                "cpu_times": rounds.cpu_times(FastMail.name),
            }, "{case:12} {server:9} {rate:8.0f}/s  cpu {cpu:7.1f} us  " + percentile + "FastMail is "
               "{fastmail_times:.1f} times as fast, at 1/{cpu_times:.1f} of the CPU")


def measure_dead(arguments):
    with rounds.workplace(arguments.directory) as (work, servers), socket.socket() as grave:
        grave.bind(("127.0.0.1", 0))
        if arguments.dead == "mute":
            grave.listen(1000)  # the kernel takes connections, and nobody ever says a word on them
        living = [f"d{n}.test={{sink}}" for n in range(DOMAINS)]
        dead = living[:-1] + [f"d{DOMAINS - 1}.test=127.0.0.1:{grave.getsockname()[1]}"]
        for name, routes in (("alive", living), ("dead", dead)):
            servers.append(FastMail(rounds.folder(work, name), mtas.free_port(), name, routes))

        def turn(server, case, is_warm_up):
            return drive_living(server, case, case[3] // 10 if is_warm_up else case[3])

        rounds.run(arguments, servers, turn, {"of_alive": lambda own, all_: own["rate"] / all_["alive"]["rate"]},
                   "{case:12} {server:9} {rate:8.0f}/s of the four fifths  cpu {cpu:7.1f} us  p99 {p99:9.0f} us  "
                   "{of_alive:.3f} of the rate with all hosts alive")


def main():
    is_dead = "dead" in sys.argv  # its cases are others
    parser = rounds.parser(__doc__, DEAD_CASES if is_dead else CASES)
    parser.add_argument("--measure", choices=("rate", "half", "dead"), default="rate")
    parser.add_argument("--tools", choices=("fastmail", "postfix"), default="fastmail", help="that send and receive")
    parser.add_argument("--peers", default="postfix", help=", ".join(PEERS))
    parser.add_argument("--dead", choices=("mute", "refused"), default="mute", help="what the dead host does")
    parser.add_argument("--share", type=float, default=1, help="of the messages of each case, for a quick look")
    arguments = parser.parse_args()
    if arguments.tools == "postfix" and arguments.measure != "rate":
        parser.error("--tools postfix knows only --measure rate: smtp-source sends at no given rate")
    if arguments.share != 1:
        arguments.cases = [
            (label, connections, octets, *(max(100, int(n * arguments.share)) for n in numbers))
            for label, connections, octets, *numbers in arguments.cases]
    (measure_dead if arguments.measure == "dead" else measure_peers)(arguments)


if __name__ == "__main__":
    main()
