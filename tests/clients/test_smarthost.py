"""Logging in at a smarthost: Postfix with Dovecot's passwords over STARTTLS and smtps, FastMail with SCRAM; and a wrong
password, which keeps mail waiting and says so, and is never said itself.
"""

import os
import signal
import subprocess
import time

import mtas
from server import PASSWORD, USER, Server, run
from skip import needs
from test_relay import BOB, authority, check, collect, folder_in, letters, store_of_bob, submit, wait_for

ACCOUNT = "relay-user"
SECRET = "s3cret of the smarthost, %+=\u00e9"


class Dovecot:
    """A private Dovecot that does nothing but check passwords, by a socket; use as a context manager."""

    def __init__(self, folder, mechanism, password):
        needs("dovecot")
        mtas.require_root_and_user("dovecot")
        self.socket = f"{folder}/auth"
        self.log_path = f"{folder}/dovecot.log"
        with open(f"{folder}/users", "w", encoding="utf-8") as f:
            f.write(f"{ACCOUNT}:{{PLAIN}}{password}\n")
        os.chmod(f"{folder}/users", 0o644)
        with open(f"{folder}/dovecot.conf", "w", encoding="ascii") as f:
            f.write(f"""protocols =
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {self.log_path}
auth_verbose = yes
auth_mechanisms = {mechanism}
ssl = no
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {self.socket} {{
    mode = 0666
  }}
}}
""")
        self.process = subprocess.Popen(["dovecot", "-F", "-c", f"{folder}/dovecot.conf"], start_new_session=True)
        deadline = time.monotonic() + 20
        while not os.path.exists(self.socket):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.05)  # another program's start gives no signal

    def log(self):
        if not os.path.exists(self.log_path):
            return ""
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def smarthost(folder, next_hop_port, pair, dovecot):
    """A Postfix that relays for who logs in inside TLS, and for nobody else; and its port for smtps."""
    port = mtas.free_port()
    settings = f"""
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot.socket}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_sasl_authenticated_header = yes
"""
    services = f"127.0.0.1:{port} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"
    return mtas.postfix(folder, next_hop_port, settings, services, certificate=pair), port


def password_file(folder, password=SECRET):
    path = f"{folder}/password"
    with open(path, "w", encoding="utf-8") as f:
        f.write(password + "\n")
    os.chmod(path, 0o600)
    return path


def log_in(folder, mechanism, is_implicit):
    """FastMail, then the smarthost, which wants a login, then FastMail."""
    ca, pairs = authority(folder, "mta.test")
    with store_of_bob(folder) as b, Dovecot(folder_in(folder, "dovecot"), mechanism, SECRET) as dovecot:
        mta, implicit_port = smarthost(folder_in(folder, "mta"), b.ports["mx"], pairs["mta.test"], dovecot)
        with mta:
            host = f"smtps://{ACCOUNT}@127.0.0.1:{implicit_port}" if is_implicit else f"smtp://{ACCOUNT}@127.0.0.1:{mta.port}"
            with Server(folder + "/a", "--set", f"relay.tls_ca={ca}", "--retry-min", "1s",
                        "--smarthost", f"{host} name=mta.test tls=verify",
                        "--set", f"relay.smarthost_password_file={password_file(folder)}") as a:
                sent = letters(USER)
                submit(a, sent)
                for octets in check(sent, collect(b, len(sent), logs=[a.log, mta.log, dovecot.log])):
                    assert f"(Authenticated sender: {ACCOUNT})".encode() in octets, octets[:1500]
                assert f"sasl_method={mechanism.upper()}, sasl_username={ACCOUNT}" in mta.log(), mta.log()[-2000:]
                untold(a, mta, dovecot)


def untold(a, *others):
    """The password stands in no log and no answer."""
    answers = [
        run(*words, "--data", a.data) for words in (
            ["route", "test", BOB], ["route", "test", BOB, "--json"], ["queue", "list"], ["queue", "list", "--json"],
            ["queue", "stats"])]
    for text in [a.log(), *(other.log() for other in others), *(answer.stdout + answer.stderr for answer in answers)]:
        assert SECRET not in text and "s3cret" not in text and WRONG not in text, text[-2000:]
    assert ACCOUNT in answers[0].stdout, answers[0]


def test_plain_over_starttls_at_postfix(folder):
    log_in(folder, "plain", is_implicit=False)


def test_plain_over_smtps_at_postfix(folder):
    log_in(folder, "plain", is_implicit=True)


def test_login_over_starttls_at_postfix(folder):
    log_in(folder, "login", is_implicit=False)


def test_login_over_smtps_at_postfix(folder):
    log_in(folder, "login", is_implicit=True)


def test_scram_over_starttls_at_postfix(folder):
    log_in(folder, "scram-sha-256", is_implicit=False)


def test_scram_over_smtps_at_postfix(folder):
    log_in(folder, "scram-sha-256", is_implicit=True)


WRONG = "wr0ng-password"


def test_a_wrong_password_keeps_mail_waiting_and_says_so_and_the_right_one_sends_it(folder):
    ca, pairs = authority(folder, "mta.test")
    for mechanism in ("plain", "scram-sha-256"):
        home = folder_in(folder, mechanism)
        with store_of_bob(home) as b, Dovecot(folder_in(home, "dovecot"), mechanism, SECRET) as dovecot:
            mta, _ = smarthost(folder_in(home, "mta"), b.ports["mx"], pairs["mta.test"], dovecot)
            file = password_file(home, WRONG)
            with mta, Server(home + "/a", "--set", f"relay.tls_ca={ca}", "--retry-min", "1s",
                             "--smarthost", f"smtp://{ACCOUNT}@127.0.0.1:{mta.port} name=mta.test tls=verify",
                             "--set", f"relay.smarthost_password_file={file}") as a:
                sent = letters(USER, 2)
                submit(a, sent)
                wait_for(lambda: "535" in explain(a), a.log)
                told = explain(a)
                assert "deferred" in told and " failed <" not in told, told  # failed is the end
                assert "535 5.7.8" in told and "127.0.0.1" in told, told
                assert collect(a, 0, user=USER) == [] and collect(b, 0) == []  # no notification, and nobody else's mail
                untold(a, mta, dovecot)
                assert "s3cret" not in told and WRONG not in told, told
                a.stop()
                password_file(home)
                a.start()
                check(sent, collect(b, len(sent), logs=[a.log, mta.log]))


def explain(a):
    """What the operator is told of all that waits."""
    listed = run("queue", "list", "--data", a.data).stdout
    ids = {line.split()[0] for line in listed.splitlines() if line[:1] not in ("", " ") and "->" in line}
    return "".join(run("queue", "explain", one, "--data", a.data).stdout for one in ids)


def test_scram_at_fastmail_itself(folder):
    ca, pairs = authority(folder, "mx.b.test")
    for host, role in (("smtp", "submission"), ("smtps", "submissions")):
        home = folder_in(folder, role)
        with Server(home + "/b", "--tls-cert", pairs["mx.b.test"][0], "--tls-key", pairs["mx.b.test"][1],
                    "--set", "auth.mechanisms=SCRAM-SHA-256", accounts=(BOB, USER)) as b:
            route = f"b.test={host}://{USER}@127.0.0.1:{b.ports[role]} name=mx.b.test tls=verify"
            file = password_file(home, PASSWORD)
            with Server(home + "/a", "--set", f"relay.tls_ca={ca}", "--retry-min", "1s",
                        "--route", f"{route} password_file={file}") as a:
                sent = letters(USER, 6)
                submit(a, sent)
                for octets in check(sent, collect(b, len(sent), logs=[a.log, b.log])):
                    assert b"with ESMTPSA id" in octets, octets[:1000]
                assert PASSWORD not in a.log() + b.log() + run("route", "test", BOB, "--data", a.data).stdout
