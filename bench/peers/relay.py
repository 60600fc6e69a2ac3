#!/usr/bin/env python3
"""Relays beside each other, one run, interleaved: fastmail-load sends to each and receives from each with the sink it
brings along. All promise durability before their 250: FastMail flushes once a group, Postfix twice a message.

  bench/peers/relay.py [--repetitions 5] [--cases 0,1] [--peers postfix,haraka] [--directory DIR] [--json]

Prints medians of messages a second from the first arrival to the last, CPU a message of the whole process tree, the
99th percentile from submission to arrival, and the ratios of each repetition. Needs root and Debian's postfix; Haraka
when it is installed (npm install -g Haraka). Build first: dotnet build -c Release FastMail.sln
"""

import json
import os
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import mtas  # noqa: E402
import rounds  # noqa: E402
from compare import FASTMAIL, LOAD, Server, cpu_seconds  # noqa: E402
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


class FastMail:
    name = "fastmail"

    def __init__(self, folder, sink):
        data = os.path.join(folder, "data")
        self.server = Server(self.name, [
            FASTMAIL, "serve", "--data", data, "--mx", "127.0.0.1:0", "--submission", "none", "--pop3", "none",
            "--submissions", "none", "--pop3s", "none", "--relay-from", "127.0.0.0/8",
            "--route", f"relay.test=127.0.0.1:{sink}", "--set", "limits.exempt=127.0.0.0/8",
        ], r"mx=127\.0\.0\.1:(\d+)", os.path.join(folder, "fastmail.log"))
        self.port = self.server.port

    def cpu(self):
        return cpu_seconds(self.server.process.pid)

    def stop(self):
        self.server.stop()


class Postfix:
    name = "postfix"

    def __init__(self, folder, sink):
        self.mta = mtas.postfix(folder, sink, POSTFIX_TUNING)
        self.port = self.mta.port

    def cpu(self):
        return cpu_of_tree(self.mta.process.pid)

    def stop(self):
        self.mta.stop()


class Haraka:
    name = "haraka"

    def __init__(self, folder, sink):
        program = shutil.which("haraka")
        if program is None:
            raise SystemExit("haraka is not installed: npm install -g Haraka, or leave it out of --peers")
        subprocess.run([program, "-i", folder], check=True, stdout=subprocess.DEVNULL)
        self.port = mtas.free_port()
        for name, text in {
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=0\n",
            "plugins": "relay_all\n",
            "outbound.ini": "concurrency_max=100\nenable_tls=false\nalways_split=false\npool_concurrency_max=100\n",
            "connection.ini": "[haproxy]\nhosts_ipv4=\n",
            "host_list": "nothing.here\n",
            "me": "haraka.test\n",
            "loglevel": "ERROR\n",
        }.items():
            with open(os.path.join(folder, "config", name), "w", encoding="ascii") as f:
                f.write(text)
        os.makedirs(os.path.join(folder, "plugins"), exist_ok=True)
        with open(os.path.join(folder, "plugins/relay_all.js"), "w", encoding="ascii") as f:
            f.write(f"""exports.hook_rcpt = (next, connection) => {{ connection.relaying = true; next(OK); }};
exports.hook_get_mx = (next) => next(OK, {{ exchange: '127.0.0.1', port: {sink}, priority: 0 }});
""")
        self.process = subprocess.Popen([program, "-c", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        mtas.wait_for_greeting(self.port, self.process, lambda: "")

    def cpu(self):
        return cpu_of_tree(self.process.pid)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


PEERS = {peer.name: peer for peer in (Postfix, Haraka)}


def drive(server, case, messages):
    _, connections, octets, _, _ = case
    before = server.cpu()
    run = subprocess.run([
        LOAD, "relay", "--target", f"127.0.0.1:{server.port}", "--sink", f"127.0.0.1:{server.sink}", "-c", str(connections),
        "-n", str(messages), "-s", str(octets), "-p", "none", "--to", "u{n}@relay.test", "--users", "100",
        "--from", "source@relay.test", "--settle", "60s", "--json", "--quiet",
    ], capture_output=True, text=True)
    if not run.stdout:
        raise SystemExit(f"{server.name}, {case[0]}: {run.stderr}")
    result = json.loads(run.stdout)
    if not result["allRelayed"]:
        raise SystemExit(f"{server.name}, {case[0]}: {run.stdout}")
    return {
        "rate": result["messagesPerSecond"],
        "cpu": (server.cpu() - before) / messages * 1e6,
        "p99": result["endToEndMicroseconds"]["p99"],
    }


def main():
    parser = rounds.parser(__doc__, CASES)
    parser.add_argument("--peers", default="postfix", help=", ".join(PEERS))
    arguments = parser.parse_args()
    with rounds.workplace(arguments.directory) as (work, servers):
        for peer in [FastMail] + [PEERS[name] for name in arguments.peers.split(",") if name]:
            sink = mtas.free_port()
            servers.append(peer(rounds.folder(work, peer.name), sink))
            servers[-1].sink = sink

        def turn(server, case, is_warm_up):
            messages = case[3] if server.name == FastMail.name else case[4]
            return drive(server, case, max(500, messages // 10) if is_warm_up else messages)

        rounds.run(arguments, servers, turn, {
            "fastmail_times": rounds.rate_times(FastMail.name),
            "cpu_times": rounds.cpu_times(FastMail.name),
        }, "{case:12} {server:9} {rate:8.0f}/s  cpu {cpu:7.1f} us  p99 {p99:9.0f} us  FastMail is "
           "{fastmail_times:.1f} times as fast, at 1/{cpu_times:.1f} of the CPU")


if __name__ == "__main__":
    main()
