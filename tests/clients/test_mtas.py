"""MTAs of others send to us: Postfix with PIPELINING, Exim with CHUNKING; getmail and fetchmail collect."""

import hashlib
import os
import shutil
import smtplib
import subprocess
import time

import mtas
from maildrop import open_maildrop, retrieve
from server import PASSWORD, USER, Server
from skip import needs

COUNT = 40


def letters():
    """Bodies that tempt a relay: dots, long lines up to the limit, 8-bit, no final line end."""
    bodies = [b".", b"..\r\n.\r\n", b"x" * 998 + b"\r\n", "na\u00efve \u20ac\r\n".encode(), b"", b"a\r\n" * 30_000]
    for n in range(COUNT):
        body = bodies[n % len(bodies)]
        mark = hashlib.sha256(b"%d" % n).hexdigest()
        yield mark, b"From: a@example.com\r\nTo: u@local.test\r\nSubject: %s\r\n\r\n" % mark.encode() + body


def hand_over(mta, sent):
    with smtplib.SMTP("127.0.0.1", mta.port, timeout=30) as client:
        for letter in sent.values():
            client.sendmail("a@example.com", [USER], letter, mail_options=["BODY=8BITMIME"])


def messages(server):
    pop = open_maildrop(server)
    for number in range(1, pop.stat()[0] + 1):
        yield retrieve(pop, number)[0]
    pop.quit()


def collect(server, mta, count, wait=60):
    """Everything in the maildrop once so many messages are there; the MTA works at its own pace."""
    deadline = time.monotonic() + wait
    while True:
        got = list(messages(server))
        if len(got) >= count:
            return got
        assert time.monotonic() < deadline, (len(got), mta.log()[:1500], mta.log()[-1500:])
        time.sleep(0.2)


def check(sent, got):
    assert len(got) == len(sent), (len(got), len(sent))
    for octets in got:
        mark = octets.split(b"Subject: ", 1)[1][:64].decode()
        expected = sent[mark].split(b"\r\n\r\n", 1)[1]
        body = octets.split(b"\r\n\r\n", 1)[1]
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"  # every line ends in the dialog
        assert body == expected, (mark, len(body), len(expected))


def relays(folder, make, with_what, settings=""):
    sent = dict(letters())
    with Server(folder + "/data") as server, make(folder, server.ports["mx"], settings) as mta:
        hand_over(mta, sent)
        got = collect(server, mta, COUNT)
    check(sent, got)
    assert all(with_what in octets for octets in got), got[0][:1000]


def test_postfix_relays_to_us(folder):
    relays(folder, mtas.postfix, b"with ESMTP id", "smtp_tls_security_level = none")


def test_postfix_relays_to_us_over_tls(folder):
    relays(folder, mtas.postfix, b"with ESMTPS id", "smtp_tls_security_level = encrypt")


def test_exim_relays_to_us_in_chunks(folder):
    relays(folder, mtas.exim, b"with ESMTP id", "  hosts_try_chunking = *\n  hosts_avoid_tls = *\n")


def test_exim_relays_to_us_in_chunks_over_tls(folder):
    relays(folder, mtas.exim, b"with ESMTPS id",
           "  hosts_try_chunking = *\n  hosts_require_tls = *\n  tls_try_verify_hosts = :\n")


def call(*args):
    result = subprocess.run(args, capture_output=True, timeout=120)
    assert result.returncode == 0, (args, result.returncode, result.stdout[-2000:], result.stderr[-2000:])


def fill(server):
    sent = dict(letters())
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as client:
        for letter in sent.values():
            client.sendmail("a@example.com", [USER], letter, mail_options=["BODY=8BITMIME"])
    return sent


def collected(box):
    got = []
    for name in os.listdir(box + "/new"):
        with open(f"{box}/new/{name}", "rb") as f:
            got.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    return got


def make_box(folder):
    for name in ("new", "cur", "tmp"):
        os.makedirs(f"{folder}/box/{name}")
    return folder + "/box"


def getmail(folder, retriever, role):
    needs("getmail")
    with Server(folder + "/data") as server:
        sent, box = fill(server), make_box(folder)
        if os.geteuid() == 0:  # getmail delivers as somebody else then
            os.chmod(folder, 0o755)
            for path in (box, box + "/new", box + "/cur", box + "/tmp"):
                shutil.chown(path, "nobody")
        with open(folder + "/getmailrc", "w", encoding="ascii") as f:
            f.write(f"""[retriever]
type = {retriever}
server = 127.0.0.1
port = {server.ports[role]}
username = {USER}
password = {PASSWORD}
[destination]
type = Maildir
path = {box}/
{"user = nobody" if os.geteuid() == 0 else ""}
[options]
delete = true
delivered_to = false
received = false
""")
        os.chmod(folder + "/getmailrc", 0o600)
        call("getmail", f"--getmaildir={folder}", "--rcfile=getmailrc", "--quiet")
        check(sent, collected(box))
        assert not list(messages(server))


def test_getmail_collects_everything_and_removes_it(folder):
    getmail(folder, "SimplePOP3Retriever", "pop3")


def test_getmail_collects_over_tls(folder):
    getmail(folder, "SimplePOP3SSLRetriever", "pop3s")


def fetchmail(folder, role, tls):
    needs("fetchmail")
    with Server(folder + "/data") as server:
        sent, box = fill(server), make_box(folder)
        with open(folder + "/deliver", "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\nexec cat > {box}/new/$$\n")
        os.chmod(folder + "/deliver", 0o700)
        with open(folder + "/fetchmailrc", "w", encoding="ascii") as f:
            f.write(f"""poll 127.0.0.1 service {server.ports[role]} protocol pop3 auth password
user "{USER}" password "{PASSWORD}" {tls} mda "{folder}/deliver"
""")
        os.chmod(folder + "/fetchmailrc", 0o600)
        call("fetchmail", "-f", folder + "/fetchmailrc", "--pidfile", folder + "/fetchmail.pid", "--fetchall",
             "--nokeep", "--invisible", "--nosyslog")
        check(sent, collected(box))
        assert not list(messages(server))


def test_fetchmail_collects_everything_and_removes_it(folder):
    fetchmail(folder, "pop3", 'sslproto ""')


def test_fetchmail_collects_after_stls(folder):
    fetchmail(folder, "pop3", 'sslproto "tls1.2+" no sslcertck')


def test_fetchmail_collects_over_tls(folder):
    fetchmail(folder, "pop3s", 'ssl no sslcertck')
