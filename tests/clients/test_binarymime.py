"""BINARYMIME: content of any octets goes in by BDAT, and an ordinary message comes out. No client at hand speaks it (Exim,
curl and swaks have BDAT without it, or neither), so smtplib is led by hand."""

import email
import os
import smtplib
import ssl
import time

from maildrop import open_maildrop, retrieve
from server import PASSWORD, USER, Server


def test_a_binary_attachment_by_BINARYMIME_comes_back_octet_for_octet(folder):
    attachment = os.urandom(1 << 20) + b"\r\n--frontier-\r\n.\r\n\0\r\r\n\n" + bytes(range(256)) * 8
    inner = (b"MIME-Version: 1.0\r\nContent-Type: image/x-raw\r\nContent-Transfer-Encoding: binary\r\n\r\n" + attachment[::-1])
    content = (
        b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=frontier\r\n"
        b"Content-Transfer-Encoding: binary\r\n\r\n"
        b"--frontier\r\nContent-Type: text/plain\r\n\r\n.plain words\r\n..\r\n"
        b"--frontier\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + attachment + b"\r\n--frontier\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + inner + b"\r\n--frontier--\r\n")
    with Server(folder + "/data", "--lmtp", "127.0.0.1:0") as server:
        sizes = (len(content), 1000, 77_777, 1 << 20)
        for role, size in zip(("mx", "submission", "submissions", "lmtp"), sizes):
            send_binary(server, role, content, size)
        server.stop()
        server.options += ["--set", "store.jumbo_size=64KiB"]  # its body streams into a file of its own
        server.start()
        send_binary(server, "mx", content, 500_000)
        pop = open_maildrop(server)
        assert pop.stat()[0] == 5
        for number in range(1, 6):
            stored = retrieve(pop, number)[0]
            message = email.message_from_bytes(stored)
            text, raw, letter = message.get_payload()
            assert text.get_payload(decode=True) == b".plain words\r\n..", text.get_payload(decode=True)
            assert raw["Content-Transfer-Encoding"] == "base64" and raw.get_payload(decode=True) == attachment
            assert letter.get_payload(0).get_payload(decode=True) == attachment[::-1]
            assert message["Content-Transfer-Encoding"] == "8bit", message["Content-Transfer-Encoding"]
            assert b"binary\r\n" not in stored.replace(b"Subject: binary\r\n", b"")
            assert max(map(len, stored.split(b"\r\n"))) <= 998
        pop.quit()


def send_binary(server, role, content, chunk, recipient=USER):
    """One message by BDAT in chunks of that length, all of them pipelined."""
    kind = {"submissions": smtplib.SMTP_SSL, "lmtp": smtplib.LMTP}.get(role, smtplib.SMTP)
    options = {"context": unverified()} if role == "submissions" else {}
    with kind("127.0.0.1", server.ports[role], timeout=60, **options) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("chunking") and smtp.has_extn("binarymime"), smtp.esmtp_features
        if role.startswith("submission"):
            smtp.login(USER, PASSWORD)
        sender = USER if role.startswith("submission") else "a@example.com"
        assert smtp.mail(sender, ["body=binarymime"])[0] == 250
        assert smtp.rcpt(recipient)[0] == 250
        assert smtp.docmd("DATA")[0] == 503
        starts = range(0, len(content), chunk)
        for start in starts:
            part = content[start:start + chunk]
            last = b" LAST" if start + chunk >= len(content) else b""
            smtp.send(b"BDAT %d%s\r\n" % (len(part), last) + part)
        for _ in starts:
            code, text = smtp.getreply()
            assert code == 250, (code, text)


def unverified():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_what_came_by_BINARYMIME_is_relayed_as_ordinary_mail(folder):
    bob = "bob@b.test"
    attachment = os.urandom(100_000)
    content = (b"Subject: binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
               b"Content-Transfer-Encoding: binary\r\n\r\n" + attachment)
    with Server(folder + "/b/data", accounts=(bob,)) as store:
        route = f"b.test=127.0.0.1:{store.ports['mx']} private"
        with Server(folder + "/a/data", "--route", route) as relay:
            send_binary(relay, "submission", content, 50_000, recipient=bob)
            deadline = time.monotonic() + 60
            pop = open_maildrop(store, bob)
            while pop.stat()[0] == 0:
                assert time.monotonic() < deadline, relay.log()
                pop.quit()
                time.sleep(0.2)
                pop = open_maildrop(store, bob)
            message = email.message_from_bytes(retrieve(pop, 1)[0])
            assert message["Content-Transfer-Encoding"] == "base64" and message.get_payload(decode=True) == attachment
            pop.quit()
