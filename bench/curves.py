#!/usr/bin/env python3
"""How FastMail holds up as things grow: one curve for each, driven by fastmail-load, every point beside the first.

  bench/curves.py [--quick] [--only sessions,size,maildrop,mailboxes,queue,cores] [--repetitions 3] [--directory DIR] [--json]

  sessions   1 KB messages one at a time over 1 to 10,000 connections
  size       20 connections, 1 KB to 10 MB a message
  maildrop   login and RETR of a maildrop of 1,000 to 1,000,000 short messages
  mailboxes  1 to 1,000,000 accounts: start, append to all of them in turn, login
  queue      up to 1,000,000 messages for a next hop that is not there: acceptance at that depth, start, memory
  cores      the server on one core and on two (the generator has both)

Prints a table in Markdown with medians and, in brackets, the ratio to the first point; --json prints what fastmail-load
report draws. Server and generator share the machine. At 10,000 connections both need as many descriptors: ulimit -Hn.
All of it takes about ten minutes on a quiet machine, --quick three at most. Build first: dotnet build -c Release FastMail.sln
"""

import argparse
import json
import os
import re
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "peers"))
import rounds  # noqa: E402
from compare import FASTMAIL, LOAD, Server, cpu_seconds  # noqa: E402
from processes import memory_of_tree  # noqa: E402

DOMAIN = "curves.test"
USER = "u0@" + DOMAIN
PASSWORD = "not-a-secret"
SHORT = "200"  # octets asked for; the generator's header section makes them about 280
LOGINS = 20  # accounts that log in: the password of each is derived once


class FastMail:
    """A server of its own directory that can be stopped and started again."""

    name = "fastmail"

    def __init__(self, folder, *options, prefix=()):
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "fastmail.log")
        subprocess.run([FASTMAIL, "account", "add", USER, "--password-stdin", "--data", self.data],
                       input=PASSWORD.encode() + b"\n", check=True, stdout=subprocess.DEVNULL)
        self.command = [*prefix, FASTMAIL, "serve", "--data", self.data, "--mx", "127.0.0.1:0", "--pop3", "127.0.0.1:0",
                        "--submission", "none", "--submissions", "none", "--pop3s", "none",
                        "--set", "limits.exempt=127.0.0.0/8", *options]
        self.server = None

    def start(self):
        """Seconds until it is ready."""
        began = time.monotonic()
        self.server = Server(self.name, self.command, r"mx=127\.0\.0\.1:(\d+)", self.log)
        self.mx = self.server.port
        self.pop3 = int(re.search(r"pop3=127\.0\.0\.1:(\d+)", self.server.line).group(1))
        return time.monotonic() - began

    def stop(self):
        if self.server is not None:
            self.server.stop()
            self.server = None

    def load(self, verb, *options):
        """What fastmail-load says of a run, with `server_cpu`, microseconds a message or session."""
        port = self.mx if verb == "smtp" else self.pop3
        before = cpu_seconds(self.server.process.pid)
        run = subprocess.run([LOAD, verb, "--target", f"127.0.0.1:{port}", *map(str, options), "--json", "--quiet"],
                             capture_output=True, text=True, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
        if run.returncode != 0:
            raise SystemExit(f"curves: {verb} {' '.join(map(str, options))}: {run.stdout[-1000:]}{run.stderr[-1000:]}")
        result = json.loads(run.stdout)
        count = result.get("acked") or result.get("messages") or result.get("sessions")
        result["server_cpu"] = (cpu_seconds(self.server.process.pid) - before) / count * 1e6
        return result

    def fill(self, messages, to, *options):
        if messages > 0:
            self.load("smtp", "--to", to, "-n", messages, "-c", 50, "-p", "full", *options)

    def log_in(self, seconds):
        """Sessions of login, STAT and QUIT, one after the other, the passwords known."""
        logins = min(LOGINS, self.accounts())
        options = ("--user", "u{n}@" + DOMAIN, "--users", logins, "--parallel", 1, "--do", "stat")
        self.load("pop3", *options, "-n", logins)
        return self.load("pop3", *options, "-d", seconds)

    def accounts(self):
        with sqlite3.connect(self.data + "/accounts.db") as store:
            return store.execute("SELECT COUNT(*) FROM accounts").fetchone()[0]


def dead_port():
    """A port of ours at which nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def add_accounts(data, first, end):
    """u0 has a password; the others get the same, written into the store, as adding one by one derives each anew."""
    with sqlite3.connect(data + "/accounts.db") as store:
        password, created, scram = store.execute(
            "SELECT password, created_us, scram FROM accounts WHERE address = ?", (USER,)).fetchone()
        store.executemany("INSERT INTO accounts(address, password, created_us, scram) VALUES (?, ?, ?, ?)",
                          ((f"u{n}@{DOMAIN}", password, created, scram) for n in range(first, end)))


def smtp_point(server, plan, connections, *options):
    result = server.load("smtp", "--to", USER, "-c", connections, "-d", plan.seconds, "--warm-up", plan.warm_up, *options)
    return result


def sessions(plan, folder):
    server = plan.started(FastMail(folder))
    for connections in plan.points((1, 10, 100, 1000, 10_000)):
        for _ in range(plan.repetitions):
            result = smtp_point(server, plan, connections)
            yield connections, {"messages/s": result["messagesPerSecond"], "server CPU us": result["server_cpu"],
                                "p99 ms": result["latencyMicroseconds"]["p99"] / 1e3}


def size(plan, folder):
    server = plan.started(FastMail(folder))
    for octets in plan.points((1000, 10_000, 100_000, 1_000_000, 10_000_000)):
        for _ in range(plan.repetitions):
            result = smtp_point(server, plan, 20, "-s", octets)
            yield octets, {"MB/s": result["megabytesPerSecond"], "messages/s": result["messagesPerSecond"],
                           "server CPU us": result["server_cpu"]}


def maildrop(plan, folder):
    server = plan.started(FastMail(folder))
    held = 0
    for messages in plan.points((1000, 10_000, 100_000, 1_000_000)):
        server.fill(messages - held, USER, "-s", SHORT)
        held = messages
        for _ in range(plan.repetitions):
            login = server.log_in(plan.seconds)
            one = server.load("pop3", "--user", USER, "--do", "retr", "--retrieve", 1000, "-d", plan.seconds)
            many = server.load("pop3", "--user", USER, "--do", "retr", "--retrieve", 1000, "-d", plan.seconds,
                               "--depth", 16)
            yield messages, {"login p50 ms": login["latencyMicroseconds"]["login"]["p50"] / 1e3,
                             "RETR p50 us": one["latencyMicroseconds"]["retr"]["p50"],
                             "RETR CPU us, 16 in flight": many["server_cpu"]}


def mailboxes(plan, folder):
    server = FastMail(folder)
    plan.servers.append(server)
    held = 1
    for accounts in plan.points((1, 100, 10_000, 1_000_000)):
        add_accounts(server.data, held, accounts)
        held = accounts
        for _ in range(plan.repetitions):
            ready = server.start()
            appended = server.load("smtp", "--to", "u{n}@" + DOMAIN, "--users", accounts, "-c", 20, "-d", plan.seconds,
                                   "--warm-up", plan.warm_up)
            login = server.log_in(plan.seconds)
            memory = memory_of_tree(server.server.process.pid) / 1e6
            server.stop()
            yield accounts, {"start s": ready, "append messages/s": appended["messagesPerSecond"],
                             "append CPU us": appended["server_cpu"],
                             "logins/s, one client": login["sessionsPerSecond"], "memory MB": memory}


def queue(plan, folder):
    server = FastMail(folder, "--relay-from", "127.0.0.0/8", "--route", f"relay.test=127.0.0.1:{dead_port()}")
    plan.servers.append(server)
    server.start()
    held = 0
    for depth in plan.points((1000, 10_000, 100_000, 1_000_000)):
        server.fill(depth - held, "u{n}@relay.test", "--users", 100, "-s", SHORT)
        held = max(held, depth)
        for _ in range(plan.repetitions):
            stored = smtp_point(server, plan, 20)  # first: the server has just started, and few messages follow
            accepted = server.load("smtp", "--to", "u{n}@relay.test", "--users", 100, "-c", 20, "-n", max(1000, depth // 50))
            held += accepted["acked"]
            memory = memory_of_tree(server.server.process.pid) / 1e6
            server.stop()
            ready = server.start()
            yield depth, {"accepted for relay/s": accepted["messagesPerSecond"],
                          "stored for a mailbox/s": stored["messagesPerSecond"], "start s": ready, "memory MB": memory}


def cores(plan, folder):
    available = sorted(os.sched_getaffinity(0))
    for count in (1, 2):
        if len(available) < count:
            raise SystemExit(f"curves: only {len(available)} core here: leave 'cores' out with --only")
        server = plan.started(FastMail(rounds.folder(folder, str(count)),
                                       prefix=("taskset", "-c", ",".join(map(str, available[:count])))))
        server.fill(1000, USER, "-s", 4096)
        for _ in range(plan.repetitions):
            one = smtp_point(server, plan, 200)
            many = smtp_point(server, plan, 200, "-p", "full")
            retr = server.load("pop3", "--user", USER, "--do", "retr", "--retrieve", 1000, "-d", plan.seconds, "--depth", 16)
            yield count, {"200 x 1 KB/s": one["messagesPerSecond"], "pipelined/s": many["messagesPerSecond"],
                          "RETR 4 KB/s, 16 in flight": retr["messagesPerSecond"]}
        server.stop()


# what, title, what grows, how many of the points --quick takes
CURVES = {
    "sessions": (sessions, "Sessions, 1 KB one at a time", "connections", 4),
    "size": (size, "Size of a message, 20 connections", "octets", 5),
    "maildrop": (maildrop, "Messages in a maildrop", "messages", 2),
    "mailboxes": (mailboxes, "Mailboxes", "accounts", 3),
    "queue": (queue, "Depth of the queue, next hop dead", "messages", 2),
    "cores": (cores, "Cores of the server", "cores", 2),
}


class Plan:
    """How long and how often; the servers that are to be stopped."""

    def __init__(self, arguments, servers, quick_points):
        self.repetitions = arguments.repetitions or (1 if arguments.quick else 3)
        self.seconds = 1 if arguments.quick else 3
        self.warm_up = 0.3 if arguments.quick else 0.5
        self.servers = servers
        self.most = quick_points if arguments.quick else None

    def points(self, all_points):
        return all_points[:self.most]

    def started(self, server):
        self.servers.append(server)
        server.start()
        return server


def measure(name, arguments):
    """The curve: for each measure its points, medians of the repetitions, and the ratio to the first."""
    function, title, grows, quick_points = CURVES[name]
    found = {}
    with rounds.workplace(arguments.directory) as (work, servers):
        for at, values in function(Plan(arguments, servers, quick_points), work):
            found.setdefault(at, []).append(values)
            print(f"{name} {at:,}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()),
                  file=sys.stderr, flush=True)
    measures = []
    for key in next(iter(found.values()))[0]:
        medians = {at: statistics.median(one[key] for one in runs) for at, runs in found.items()}
        first = next(iter(medians.values()))
        measures.append({"name": key, "points": [
            {"at": at, "value": round(value, 4), "ofFirst": round(value / first, 3) if first else None}
            for at, value in medians.items()]})
    return {"name": name, "title": title, "size": grows, "measures": measures}


def figure(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(curve):
    names = [measure["name"] for measure in curve["measures"]]
    lines = [f"| {curve['size']} | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for row in zip(*(measure["points"] for measure in curve["measures"])):
        lines.append(f"| {row[0]['at']:,} | " + " | ".join(
            f"{figure(point['value'])} ({point['ofFirst']:.2f})" if point["ofFirst"] is not None else figure(point["value"])
            for point in row) + " |")
    return f"### {curve['title']}\n\n" + "\n".join(lines) + "\n"


def chosen(text):
    names = text.split(",")
    unknown = [name for name in names if name not in CURVES]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is not one of {', '.join(CURVES)}")
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer points, a second for each, once")
    parser.add_argument("--only", type=chosen, default=list(CURVES), metavar="LIST", help="of " + ",".join(CURVES))
    parser.add_argument("--repetitions", type=rounds.positive, help="of each point [default: 3, quick: 1]")
    rounds.add_directory(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object, for fastmail-load report")
    arguments = parser.parse_args()
    for program in (FASTMAIL, LOAD):
        if not os.path.exists(program):
            parser.error(f"{program} is not built: dotnet build -c Release FastMail.sln")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    curves = []
    for name in arguments.only:
        began = time.monotonic()
        curves.append(measure(name, arguments))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if not arguments.json:
            print(table(curves[-1]), flush=True)
    if arguments.json:
        print(json.dumps({"label": "curves", "curves": curves}))


if __name__ == "__main__":
    main()
