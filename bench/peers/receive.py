#!/usr/bin/env python3
"""Servers that receive and store, beside each other, one run, interleaved, all driven by Postfix's smtp-source or,
where a server is faster than that, by the project's own generator.

  bench/peers/receive.py [--repetitions 5] [--cases 0,1] [--peers postfix,exim,dovecot] [--tools fastmail]
                         [--directory DIR] [--json]

Prints medians of messages a second until the last one is acknowledged, CPU a message of the whole process tree until the
last one is stored, peak memory (PSS, looked at after each run), and the ratios of each repetition. What each does before
its 250: FastMail one flush for all who wait; Postfix flushes its queue file and delivers to Maildir later; Exim flushes
its spool and delivers later; Dovecot's LMTP flushes the message and the index. smtp-source itself ends at about 20,000
messages a second, so FastMail's figure is a lower bound; with `--tools fastmail` it is not, but that generator speaks no
LMTP, so Dovecot stays out.

Needs root and Debian's postfix; dovecot-lmtpd where Dovecot is to take part; Exim as .ci/run unpacks it. OpenSMTPD cannot
be installed beside Postfix, Haraka has no store of its own. Build first: dotnet build -c Release FastMail.sln
"""

import os
import pwd
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests/clients"))
import mtas  # noqa: E402
import rounds  # noqa: E402
from compare import FASTMAIL, LOAD, Server  # noqa: E402
from processes import Tree, memory_of_tree  # noqa: E402

USER = "load@peer.test"

# label, sessions, octets, messages for FastMail, messages for the others
CASES = [
    ("20 x 1 KB", 20, 1024, 40_000, 3_000),
    ("100 x 1 KB", 100, 1024, 40_000, 3_000),
    ("1000 x 1 KB", 1000, 1024, 40_000, 3_000),
    ("20 x 10 KB", 20, 10_240, 30_000, 3_000),
    ("20 x 100 KB", 20, 102_400, 4_000, 1_000),
]


class FastMail(Tree):
    name, is_lmtp = "fastmail", False

    def __init__(self, folder):
        data = os.path.join(folder, "data")
        subprocess.run([FASTMAIL, "account", "add", USER, "--password-stdin", "--data", data], input=b"not used\n",
                       check=True, stdout=subprocess.DEVNULL)
        self.server = Server(self.name, [FASTMAIL, "serve", "--data", data, "--mx", "127.0.0.1:0", "--submission", "none",
                                         "--pop3", "none", "--submissions", "none", "--pop3s", "none",
                                         "--set", "limits.exempt=127.0.0.0/8"],
                             r"mx=127\.0\.0\.1:(\d+)", os.path.join(folder, "fastmail.log"))
        self.port, self.pid = self.server.port, self.server.process.pid

    def stored(self):
        return None  # what is acknowledged is in the maildrop

    def stop(self):
        self.server.stop()


class Maildir(Tree):
    """A server that delivers to a Maildir of ours."""

    is_lmtp = False

    def stored(self):
        try:
            return len(os.listdir(self.maildir + "/new"))
        except FileNotFoundError:
            return 0

    def stop(self):
        self.mta.stop()


class Postfix(Maildir):
    name = "postfix"

    def __init__(self, folder):
        mail = mtas.owned_by(folder + "/mail", "nobody")  # its own user it refuses
        self.maildir = mail + "/peer.test/load"
        self.mta = mtas.postfix(folder, 1, f"""
virtual_mailbox_domains = peer.test
virtual_mailbox_base = {mail}
virtual_mailbox_maps = static:peer.test/load/
virtual_uid_maps = static:{pwd.getpwnam("nobody").pw_uid}
virtual_gid_maps = static:{pwd.getpwnam("nobody").pw_gid}
virtual_minimum_uid = 1
virtual_transport = virtual
default_process_limit = 1200
virtual_destination_concurrency_limit = 20
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
in_flow_delay = 0
""", services="virtual unix - n n - - virtual\n")
        self.port, self.pid = self.mta.port, self.mta.process.pid


class Exim(Maildir):
    name = "exim"

    def __init__(self, folder):
        mail = mtas.owned_by(folder + "/mail", "Debian-exim")
        self.maildir = mail + "/load"
        self.mta = mtas.exim(folder, 1, routers=f"""
here:
  driver = accept
  domains = peer.test
  transport = maildir
""", transports=f"""
maildir:
  driver = appendfile
  directory = {self.maildir}
  maildir_format
  user = Debian-exim
""", options="smtp_accept_max = 2000\nqueue_run_max = 20\nsmtp_accept_queue_per_connection = 0\n")
        self.port, self.pid = self.mta.port, self.mta.process.pid


class Dovecot(Tree):
    name, is_lmtp = "dovecot", True

    def __init__(self, folder):
        if shutil.which("dovecot") is None or not os.path.exists("/usr/lib/dovecot/lmtp"):
            raise SystemExit("dovecot-lmtpd is not installed: install it, or leave dovecot out of --peers")
        self.port = mtas.free_port()
        os.makedirs(folder + "/run")
        mail = mtas.owned_by(folder + "/mail", "mail")
        self.maildir = mail + "/load"
        user = pwd.getpwnam("mail")
        with open(folder + "/dovecot.conf", "w", encoding="ascii") as f:
            f.write(f"""base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/dovecot.log
protocols = lmtp
ssl = no
mail_location = maildir:{mail}/%n
first_valid_uid = 1
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={user.pw_uid} gid={user.pw_gid} home={mail}/%n
}}
lmtp_save_to_detail_mailbox = no
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.port}
  }}
  process_min_avail = 4
  process_limit = 1200
  client_limit = 1
}}
service anvil {{
  client_limit = 5000
}}
default_client_limit = 5000
""")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", folder + "/dovecot.conf"])
        self.pid = self.process.pid
        with rounds.or_stop(self):
            mtas.wait_for_port(self.port, self.process)

    def stored(self):
        return None

    def stop(self):
        rounds.end(self.process)


PEERS = {peer.name: peer for peer in (Postfix, Exim, Dovecot)}


def command(tools, server, case, messages):
    _, sessions, octets, _, _ = case
    if tools == "fastmail":
        return [LOAD, "smtp", "--target", f"127.0.0.1:{server.port}", "-c", str(sessions), "-n", str(messages),
                "-s", str(octets), "--from", "source@peer.test", "--to", USER, "--seed", "1", "--json", "--quiet"]
    return ["smtp-source", "-d", *(["-L"] if server.is_lmtp else []), "-s", str(sessions), "-m", str(messages),
            "-l", str(octets), "-f", "source@peer.test", "-t", USER, f"inet:127.0.0.1:{server.port}"]


def drive(tools, server, case, messages):
    stored, cpu = server.stored(), server.cpu()
    began = time.monotonic()
    run = subprocess.run(command(tools, server, case, messages), capture_output=True, text=True)
    seconds = time.monotonic() - began
    if run.returncode or run.stderr:
        raise SystemExit(f"{server.name}, {case[0]}: {run.stdout}{run.stderr}")
    memory = memory_of_tree(server.pid)
    while stored is not None and server.stored() < stored + messages:
        if time.monotonic() - began > 600:
            raise SystemExit(f"{server.name}: {server.stored() - stored} of {messages} stored after 600 s")
        time.sleep(0.05)
    return {
        "rate": messages / seconds,
        "stored_rate": messages / (time.monotonic() - began),
        "cpu": (server.cpu() - cpu) / messages * 1e6,
        "memory": memory / 1e6,
    }


def main():
    parser = rounds.parser(__doc__, CASES)
    parser.add_argument("--peers", default="postfix,exim,dovecot", help=", ".join(PEERS))
    parser.add_argument("--tools", choices=["postfix", "fastmail"], default="postfix", help="that send")
    arguments = parser.parse_args()
    peers = [PEERS[name] for name in arguments.peers.split(",") if name]
    if arguments.tools == "fastmail" and any(peer.is_lmtp for peer in peers):
        raise SystemExit("fastmail-load speaks no LMTP: leave dovecot out of --peers")
    with rounds.workplace(arguments.directory) as (work, servers):
        for peer in [FastMail, *peers]:
            servers.append(peer(rounds.folder(work, peer.name)))

        def turn(server, case, _):
            return drive(arguments.tools, server, case, case[3] if server.name == FastMail.name else case[4])

        rounds.run(arguments, servers, turn, {
            "fastmail_times": rounds.rate_times(FastMail.name),
            "cpu_times": rounds.cpu_times(FastMail.name),
        }, "{case:12} {server:9} {rate:8.0f}/s acknowledged {stored_rate:8.0f}/s stored  cpu {cpu:7.1f} us  memory "
           "{memory:6.1f} MB  FastMail is {fastmail_times:.1f} times as fast, at 1/{cpu_times:.1f} of the CPU")


if __name__ == "__main__":
    main()
