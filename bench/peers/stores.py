"""Servers that receive mail for load@peer.test and store it, in a folder of their own each, on 127.0.0.1."""

import os
import pwd
import shutil
import subprocess

import mtas
import rounds
from compare import FASTMAIL, Server
from haraka import Haraka
from processes import Tree

USER = "load@peer.test"
OPENSMTPD = os.path.join(mtas.EXIM_CACHE, os.pardir, "opensmtpd")


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


class OpenSmtpd(Maildir):
    """Its paths are compiled in, so it sees the machine's with its own on top of them, in a mount namespace that ends with
    it."""

    name = "opensmtpd"

    def __init__(self, folder):
        program = os.path.join(OPENSMTPD, "usr/sbin/smtpd")
        if not os.path.exists(program):
            raise SystemExit("opensmtpd is not unpacked: run bench/peers/install.sh, or leave opensmtpd out of --peers")
        mail = mtas.owned_by(folder + "/mail", "nobody")
        self.maildir = mail + "/load"
        os.mkdir(folder + "/spool")
        os.chmod(folder + "/spool", 0o711)
        port = mtas.free_port()
        with open(folder + "/users", "w", encoding="ascii") as f:
            f.write("@peer.test nobody\n")
        with open(folder + "/smtpd.conf", "w", encoding="ascii") as f:
            f.write(f"""smtp limit max-mails 1000000
table users file:{folder}/users
listen on 127.0.0.1 port {port}
action "store" maildir "{self.maildir}" virtual <users>
match from any for domain "peer.test" action "store"
""")
        os.chmod(folder + "/smtpd.conf", 0o600)
        self.mta = mtas.Mta(["unshare", "--mount", "sh", "-euc", f"""
mount -t tmpfs none /usr/libexec
cp -a {OPENSMTPD}/usr/libexec/opensmtpd /usr/libexec/
mkdir -p /var/lib /var/spool
mount -t tmpfs none /var/lib
mkdir -p /var/lib/opensmtpd/empty
mount -t tmpfs none /var/spool
mkdir /var/spool/smtpd
mount --bind {folder}/spool /var/spool/smtpd
mount -t tmpfs none /run
exec {program} -d -f {folder}/smtpd.conf
"""], folder, port)
        self.port, self.pid = port, self.mta.process.pid


class HarakaStore(Haraka):
    """It has no store of its own but a queue: this is the plugin that one would write to have a Maildir. It flushes the
    file before the 250, and durable_rename.c the file's name."""

    is_lmtp = False

    def __init__(self, folder):
        self.maildir = folder + "/mail"
        for part in ("new", "tmp"):
            os.makedirs(os.path.join(self.maildir, part))
        super().__init__(folder, f"""'use strict'
const fs = require('node:fs');
let count = 0;
exports.hook_rcpt = (next) => next(OK);
exports.hook_queue = (next, connection) => {{
  const name = `${{Date.now()}}.${{process.pid}}_${{count++}}.here`;
  const file = fs.createWriteStream(`{self.maildir}/tmp/${{name}}`, {{ flush: true }});
  file.once('error', (error) => next(DENYSOFT, error.message));
  file.once('close', () => fs.rename(`{self.maildir}/tmp/${{name}}`, `{self.maildir}/new/${{name}}`,
    (error) => error ? next(DENYSOFT, error.message) : next(OK)));
  connection.transaction.message_stream.pipe(file);
}};
""")

    def stored(self):
        return None  # what is acknowledged is in the Maildir


class Dovecot(Tree):
    name, is_lmtp = "dovecot", True

    def __init__(self, folder):
        if shutil.which("dovecot") is None or not os.path.exists("/usr/lib/dovecot/lmtp"):
            raise SystemExit("dovecot-lmtpd is not installed: run bench/peers/install.sh, or leave dovecot out of --peers")
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


class Sink(Tree):
    """smtp-sink keeps nothing: what Postfix's own generator and receiver let through."""

    name, is_lmtp = "smtp-sink", False

    def __init__(self, folder):
        self.port = mtas.free_port()
        self.process = subprocess.Popen(["smtp-sink", "-u", "nobody", f"127.0.0.1:{self.port}", "1000"], cwd=folder)
        self.pid = self.process.pid
        with rounds.or_stop(self):
            mtas.wait_for_greeting(self.port, self.process, lambda: "")

    def stored(self):
        return None

    def stop(self):
        rounds.end(self.process)


PEERS = {peer.name: peer for peer in (Postfix, Exim, OpenSmtpd, HarakaStore, Dovecot, Sink)}
