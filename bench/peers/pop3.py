#!/usr/bin/env python3
"""FastMail and Dovecot as POP3 servers beside each other and beside the stream (stream.c, which only sends, from
memory), one run, interleaved, driven by fastmail-load.

  bench/peers/pop3.py [--repetitions 5] [--cases 0,1] [--directory DIR] [--json]

20 users, a maildrop of 1,000 messages of 4 KB each (Dovecot: Maildir, index warm); then one of 20 messages of 5 MB. Both
know the password after the first login. Prints medians of sessions or megabytes a second, CPU of the process tree and of
the generator, and the ratios of each repetition. Needs root and Debian's dovecot-pop3d. Build first: dotnet build -c Release FastMail.sln
"""

import json
import os
import pwd
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import mtas  # noqa: E402
import rounds  # noqa: E402
from compare import FASTMAIL, LOAD, Server, landmark  # noqa: E402
from processes import Tree, cpu_of_tree  # noqa: E402

USERS = 20
PASSWORD = "not-a-secret"
SMALL, SMALL_OCTETS = 1000, 4096
LARGE, LARGE_OCTETS = 20, 5_000_000

# label, kind of user, commands, depth, sessions, what is counted
CASES = [
    ("login, STAT, LIST, QUIT", "small", "stat,list", 1, 2_000, "sessions"),
    ("RETR 4 KB, one at a time", "small", "retr", 1, 60, "messages"),
    ("RETR 4 KB, 16 in flight", "small", "retr", 16, 100, "messages"),
    ("RETR 5 MB", "large", "retr", 1, 20, "megabytes"),
    ("RETR 5 MB, one client", "large", "retr", 1, 10, "megabytes"),
]


def users(kind):
    return [f"{kind}{n}@peer.test" for n in range(USERS)]


class FastMail(Tree):
    name = "fastmail"

    def __init__(self, folder):
        data = os.path.join(folder, "data")
        for user in users("small") + users("large"):
            subprocess.run([FASTMAIL, "account", "add", user, "--password-stdin", "--data", data],
                           input=PASSWORD.encode() + b"\n", check=True, stdout=subprocess.DEVNULL)
        self.server = Server(self.name, [
            FASTMAIL, "serve", "--data", data, "--mx", "127.0.0.1:0", "--submission", "none", "--pop3", "127.0.0.1:0",
            "--submissions", "none", "--pop3s", "none", "--set", "limits.exempt=127.0.0.0/8",
        ], r"pop3=127\.0\.0\.1:(\d+)", os.path.join(folder, "fastmail.log"))
        self.port, self.pid = self.server.port, self.server.process.pid
        with rounds.or_stop(self):
            mx = re.search(r"mx=(127\.0\.0\.1:\d+)", self.server.line).group(1)
            for kind, messages, octets in (("small", SMALL, SMALL_OCTETS), ("large", LARGE, LARGE_OCTETS)):
                subprocess.run([LOAD, "smtp", "--target", mx, "-n", str(USERS * messages), "-s", str(octets), "--to",
                                kind + "{n}@peer.test", "--users", str(USERS), "-p", "full", "--quiet"],
                               check=True, stdout=subprocess.DEVNULL)

    def port_of(self, kind):
        return self.port

    def stop(self):
        self.server.stop()


class Dovecot(Tree):
    name = "dovecot"

    def __init__(self, folder):
        if shutil.which("dovecot") is None or not os.path.exists("/usr/lib/dovecot/pop3"):
            raise SystemExit("dovecot-pop3d is not installed")
        self.port = mtas.free_port()
        os.makedirs(folder + "/run")
        mail = mtas.owned_by(folder + "/mail", "mail")
        owner = pwd.getpwnam("mail")
        for kind, messages, octets in (("small", SMALL, SMALL_OCTETS), ("large", LARGE, LARGE_OCTETS)):
            for user in users(kind):
                for part in ("cur", "new", "tmp"):
                    os.makedirs(f"{mail}/{user}/{part}")
                for n in range(messages):
                    with open(f"{mail}/{user}/cur/{1_700_000_000 + n}.M{n}P1.peer:2,", "wb") as f:
                        f.write(content(n, octets))
        subprocess.run(["chown", "-R", f"{owner.pw_uid}:{owner.pw_gid}", mail], check=True)
        with open(folder + "/dovecot.conf", "w", encoding="ascii") as f:
            f.write(f"""base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = pop3
ssl = no
disable_plaintext_auth = no
mail_location = maildir:{mail}/%u
first_valid_uid = 1
auth_cache_size = 1M
passdb {{
  driver = static
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={owner.pw_uid} gid={owner.pw_gid} home={mail}/%u
}}
service pop3-login {{
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener pop3s {{
    port = 0
  }}
  service_count = 0
  process_min_avail = 2
}}
service pop3 {{
  process_min_avail = {USERS}
  service_count = 1000
}}
mail_max_userip_connections = 1000
""")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", folder + "/dovecot.conf"])
        self.pid = self.process.pid
        with rounds.or_stop(self):
            mtas.wait_for_port(self.port, self.process)

    def port_of(self, kind):
        return self.port

    def stop(self):
        rounds.end(self.process)


class Stream:
    name = "stream"

    def __init__(self, folder):
        self.servers = {}
        with rounds.or_stop(self):
            for kind, messages, octets in (("small", SMALL, SMALL_OCTETS), ("large", LARGE, LARGE_OCTETS)):
                self.servers[kind] = landmark("stream", rounds.folder(folder, kind), str(messages), str(octets))

    def port_of(self, kind):
        return self.servers[kind].port

    def cpu(self):
        return sum(cpu_of_tree(server.process.pid) for server in self.servers.values())

    def stop(self):
        for server in self.servers.values():
            server.stop()


def content(number, octets):
    """A message of that length with lines of 72 columns."""
    head = f"From: a@peer.test\r\nSubject: {number}\r\nMessage-ID: <{number}@peer.test>\r\n\r\n".encode()
    line = b"x" * 70 + b"\r\n"
    return (head + line * (octets // len(line) + 1))[:octets - 2] + b"\r\n"


def drive(server, case):
    label, kind, commands, depth, sessions, counted = case
    clients = 1 if "one client" in label else USERS
    before = server.cpu()
    run = subprocess.run([
        LOAD, "pop3", "--target", f"127.0.0.1:{server.port_of(kind)}", "--user", kind + "{n}@peer.test", "--users", str(USERS),
        "--parallel", str(clients), "--sessions", str(sessions), "--do", commands, "--depth", str(depth), "--json",
        "--quiet",
    ], capture_output=True, text=True, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
    if run.returncode != 0:
        raise SystemExit(f"{server.name}, {label}: {run.stdout}{run.stderr}")
    result = json.loads(run.stdout)
    rate = {
        "sessions": result["sessions"] / result["seconds"],
        "messages": result["messagesPerSecond"],
        "megabytes": result["megabytesPerSecond"],
    }[counted]
    return {
        "rate": rate,
        "cpu": server.cpu() - before,
        "client_cpu": result["cpuMicrosecondsPer" + ("Session" if counted == "sessions" else "Message")],
    }


def main():
    arguments = rounds.parser(__doc__, CASES).parse_args()
    with rounds.workplace(arguments.directory) as (work, servers):
        for peer in (FastMail, Dovecot, Stream):
            servers.append(peer(rounds.folder(work, peer.name)))
        # The warm-up warms index, caches and passwords.
        rounds.run(arguments, servers, lambda server, case, _: drive(server, case), {
            "fastmail_times": rounds.rate_times(FastMail.name),
            "of_stream": lambda own, everybody: own["rate"] / everybody[Stream.name]["rate"],
        }, "{case:26} {server:9} {rate:9.0f} {counted}/s  cpu {cpu:6.2f} s a run  client {client_cpu:6.1f} us each  "
           "of stream {of_stream:.2f}  FastMail is {fastmail_times:.1f} times as fast", lambda case: {"counted": case[5]})


if __name__ == "__main__":
    main()
