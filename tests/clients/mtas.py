"""Private Postfix and Exim instances that relay everything they take to one next hop; all on 127.0.0.1."""

import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import time

from skip import Skip, needs

EXIM_CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "fastmail-tests/exim")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_greeting(port, process, log):
    for _ in range(200):
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}: {log()}")
        try:
            smtplib.SMTP("127.0.0.1", port, timeout=5).quit()
            return
        except (OSError, smtplib.SMTPException):
            time.sleep(0.05)  # another program's start gives no signal
    raise AssertionError("no greeting after 10 s: " + log())


def wait_for_port(port, process):
    for _ in range(200):
        if process.poll() is not None:
            raise AssertionError(f"ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)  # another program's start gives no signal
    raise AssertionError("no listener after 10 s")


class Mta:
    """A running MTA; use as a context manager. The port takes mail, the log is text."""

    def __init__(self, command, folder, port):
        self.port = port
        self.log_path = os.path.join(folder, "mta.log")
        with open(os.path.join(folder, "mta.out"), "ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            wait_for_greeting(port, self.process, self.log)
        except BaseException:
            self.stop()
            raise

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        # Its whole session: queue runners and delivery agents are children of their own kind.
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.process.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def owned_by(path, user):
    os.makedirs(path, exist_ok=True)
    shutil.chown(path, user)
    return path


def require_root_and_user(user):
    if os.geteuid() != 0:
        raise Skip("not root: an MTA cannot be started under its own user")
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise Skip(f"there is no user {user}") from None


POSTFIX_SERVICES = """
{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def postfix(folder, next_hop_port, settings="", services="", certificate=None):
    """A Postfix that relays to the port; settings are lines of main.cf, services of master.cf, certificate a pair of files
    for STARTTLS."""
    needs("postfix")
    require_root_and_user("postfix")
    os.chmod(folder, 0o755)  # its daemons run under their own user
    port = free_port()
    for name in ("conf", "queue"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    owned_by(f"{folder}/mtadata", "postfix")
    with open(f"{folder}/conf/master.cf", "w", encoding="ascii") as f:
        f.write(POSTFIX_SERVICES.format(port=f"127.0.0.1:{port}").lstrip() + services)
    with open(f"{folder}/conf/main.cf", "w", encoding="ascii") as f:
        f.write(f"""compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/mtadata
myhostname = postfix.local.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{next_hop_port}
smtputf8_enable = no
maillog_file = {folder}/mta.log
maillog_file_prefixes = {folder}
alias_maps =
alias_database =
{settings}
{f"smtpd_tls_security_level = may{chr(10)}smtpd_tls_chain_files = {certificate[1]}, {certificate[0]}" if certificate else ""}
smtpd_tls_received_header = yes
""")
    # Makes the queue's directories; complains about what a private instance does not have, which is not fatal.
    subprocess.run(["postfix", "-c", f"{folder}/conf", "check"], capture_output=True, timeout=60, check=False)
    return Mta(["/usr/lib/postfix/sbin/master", "-c", f"{folder}/conf", "-d"], folder, port)


def exim_program():
    for path in (shutil.which("exim4"), EXIM_CACHE + "/usr/sbin/exim4"):
        if path and os.path.exists(path):
            return path
    raise Skip("exim4 is not installed")


def exim(folder, next_hop_port, settings="", protocol="smtp", routers="", transports="", options="", certificate=None):
    """An Exim that relays to the port; settings are lines of its smtp transport, routers, transports and options come
    before its own, certificate is a pair of files for STARTTLS."""
    program = exim_program()
    require_root_and_user("Debian-exim")
    os.chmod(folder, 0o755)
    port = free_port()
    # It runs itself again under its own user, who must be able to reach it.
    program = shutil.copyfile(program, f"{folder}/exim4")
    os.chmod(program, 0o755)
    spool = owned_by(f"{folder}/spool", "Debian-exim")
    with open(f"{folder}/exim.conf", "w", encoding="ascii") as f:
        f.write(f"""exim_path = {program}
primary_hostname = exim.local.test
spool_directory = {spool}
log_file_path = {folder}/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
pid_file_path = {spool}/exim.pid
host_lookup =
rfc1413_hosts =
tls_advertise_hosts = {"*" if certificate else ""}
{f"tls_certificate = {certificate[0]}{chr(10)}tls_privatekey = {certificate[1]}" if certificate else ""}
acl_smtp_rcpt = accept_all
acl_smtp_data = accept_all
queue_run_in_order
{options}begin acl
accept_all:
  accept
begin routers
{routers}everything:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = next_hop
begin transports
{transports}next_hop:
  driver = smtp
  port = {next_hop_port}
  protocol = {protocol}
  allow_localhost
{settings}
begin retry
* * F,1h,2s
""")
    shutil.chown(folder, "Debian-exim")
    os.chmod(f"{folder}/exim.conf", 0o644)
    # Exim drops root for a configuration that is not its own; so it is root that runs it, and its user that works.
    mta = Mta([program, "-C", f"{folder}/exim.conf", "-bdf", "-q2s"], folder, port)
    mta.log_path = f"{folder}/mainlog"
    return mta
