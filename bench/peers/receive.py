#!/usr/bin/env python3
"""Servers that receive and store, beside each other, one run, interleaved, all driven by Postfix's smtp-source or,
where a server is faster than that, by the project's own generator.

  bench/peers/receive.py [--repetitions 5] [--cases 0,1] [--peers postfix,exim,opensmtpd,haraka,dovecot,smtp-sink]
                         [--tools fastmail] [--directory DIR] [--json]

Prints medians of messages a second until the last one is acknowledged, CPU a message of the whole process tree until the
last one is stored, peak memory (PSS of the tree, looked at four times a second during the warm-up only, as looking takes
time too), and the ratios of each repetition. Everybody gets the same messages over the same sessions. What each does
before its 250: FastMail one flush for all who wait; Postfix flushes its queue file and delivers to Maildir later; so does
Exim, in more flushes; OpenSMTPD flushes nothing (strace, 6.8) and delivers later; Haraka, by a plugin of ours and nothing
else, flushes the file and its name in the Maildir; Dovecot's LMTP flushes the message and the index. smtp-sink keeps nothing.

smtp-source itself ends at about 20,000 messages a second, so FastMail's figure is a lower bound; with `--tools fastmail` it
is not, but that generator speaks no LMTP, so Dovecot stays out.

Needs root, and what install.sh installs. Build first: dotnet build -c Release FastMail.sln
"""

import json
import os
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import rounds  # noqa: E402
from compare import LOAD  # noqa: E402
from processes import memory_of_tree  # noqa: E402
from stores import PEERS, USER, FastMail  # noqa: E402

# label, sessions, octets, messages
CASES = [
    ("20 x 1 KB", 20, 1024, 5_000),
    ("100 x 1 KB", 100, 1024, 5_000),
    ("1000 x 1 KB", 1000, 1024, 10_000),
    ("20 x 10 KB", 20, 10_240, 4_000),
    ("20 x 100 KB", 20, 102_400, 1_500),
]
SAMPLE_SECONDS = 0.25


def command(tools, server, case):
    _, sessions, octets, messages = case
    if tools == "fastmail":
        return [LOAD, "smtp", "--target", f"127.0.0.1:{server.port}", "-c", str(sessions), "-n", str(messages),
                "-s", str(octets), "--from", "source@peer.test", "--to", USER, "--seed", "1", "--json", "--quiet"]
    return ["smtp-source", "-d", *(["-L"] if server.is_lmtp else []), "-s", str(sessions), "-m", str(messages),
            "-l", str(octets), "-f", "source@peer.test", "-t", USER, f"inet:127.0.0.1:{server.port}"]


def sample(pid, found, is_over):
    while not is_over.wait(SAMPLE_SECONDS):
        found.append(memory_of_tree(pid))


def drive(tools, server, case):
    """One turn: messages a second until the last is acknowledged and until the last is stored, CPU a message."""
    label, _, _, messages = case
    stored, cpu = server.stored(), server.cpu()
    began = time.monotonic()
    run = subprocess.run(command(tools, server, case), capture_output=True, text=True)
    seconds = time.monotonic() - began
    if run.returncode or run.stderr:
        raise SystemExit(f"{server.name}, {label}: {run.stdout}{run.stderr}")
    if tools == "fastmail":  # without the start of its runtime
        seconds = messages / json.loads(run.stdout)["messagesPerSecond"]
    acknowledged = time.monotonic()
    while stored is not None and server.stored() < stored + messages:
        if time.monotonic() - began > 600:
            raise SystemExit(f"{server.name}: {server.stored() - stored} of {messages} stored after 600 s")
        time.sleep(0.05)
    return {
        "rate": messages / seconds,
        "stored_rate": messages / (seconds + time.monotonic() - acknowledged),
        "cpu": (server.cpu() - cpu) / messages * 1e6,
    }


def drive_watched(tools, server, case):
    """The same, looking at the memory meanwhile."""
    found, is_over = [memory_of_tree(server.pid)], threading.Event()
    watcher = threading.Thread(target=sample, args=(server.pid, found, is_over))
    watcher.start()
    try:
        result = drive(tools, server, case)
    finally:
        is_over.set()
        watcher.join()
    server.peak = max(*found, memory_of_tree(server.pid)) / 1e6
    return result


def main():
    parser = rounds.parser(__doc__, CASES)
    parser.add_argument("--peers", default="postfix,exim,opensmtpd,haraka,dovecot", help=", ".join(PEERS))
    parser.add_argument("--tools", choices=["postfix", "fastmail"], default="postfix", help="that send")
    arguments = parser.parse_args()
    names = [name for name in arguments.peers.split(",") if name]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    peers = [PEERS[name] for name in names]
    if arguments.tools == "fastmail" and any(peer.is_lmtp for peer in peers):
        parser.error("fastmail-load speaks no LMTP: leave dovecot out of --peers")
    with rounds.workplace(arguments.directory) as (work, servers):
        for peer in [FastMail, *peers]:
            servers.append(peer(rounds.folder(work, peer.name)))

        def turn(server, case, is_warm_up):
            result = (drive_watched if is_warm_up else drive)(arguments.tools, server, case)
            return {**result, "memory": server.peak}

        rounds.run(arguments, servers, turn, {
            "fastmail_times": rounds.rate_times(FastMail.name),
            "cpu_times": rounds.cpu_times(FastMail.name),
        }, "{case:12} {server:9} {rate:8.0f}/s acknowledged {stored_rate:8.0f}/s stored  cpu {cpu:7.1f} us  memory "
           "{memory:6.1f} MB  FastMail is {fastmail_times:.1f} times as fast, at 1/{cpu_times:.1f} of the CPU")


if __name__ == "__main__":
    main()
