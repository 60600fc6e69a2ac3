"""SMTP extensions that smtplib speaks only half, spoken by hand where needed."""

import poplib
import shutil
import smtplib
import subprocess

from maildrop import content_of, open_maildrop, retrieve
from server import PASSWORD, USER, Server
from skip import Skip


def test_chunks_of_BDAT_arrive_as_one_message(folder):
    content = b"Subject: chunks\r\n\r\n.a dot\r\n..\r\nna\xc3\xafve\r\n" + (b"x" * 998 + b"\r\n") * 100
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.ehlo()
            assert smtp.has_extn("chunking") and smtp.has_extn("pipelining") and smtp.has_extn("enhancedstatuscodes")
            assert smtp.mail("a@example.com", ["body=8bitmime"])[0] == 250
            assert smtp.rcpt(USER)[0] == 250
            for start in range(0, len(content), 7777):
                chunk = content[start:start + 7777]
                last = b" LAST" if start + 7777 >= len(content) else b""
                smtp.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
                code, text = smtp.getreply()
                assert code == 250, (code, text)
        pop = open_maildrop(server)
        assert content_of(retrieve(pop, 1)[0]) == content
        pop.quit()


def test_addresses_in_utf8_are_taken_with_SMTPUTF8_only(folder):
    with Server(folder + "/data", accounts=(USER, "jos\u00e9@local.test")) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.ehlo()
            smtp.command_encoding = "utf-8"
            assert smtp.mail("f\u00f6o@example.com")[0] == 553
            assert smtp.mail("f\u00f6o@example.com", ["SMTPUTF8"])[0] == 250
            assert smtp.rcpt("jos\u00e9@local.test")[0] == 250
            assert smtp.data("Subject: gr\u00fc\u00dfe\r\n\r\nx\r\n".encode())[0] == 250
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.encoding = "utf-8"
        pop.user("jos\u00e9@local.test")
        pop.pass_(PASSWORD)
        message = retrieve(pop, 1)[0]
        assert message.startswith("Return-Path: <f\u00f6o@example.com>\r\n".encode()), message
        assert b" with UTF8SMTP id " in message.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" "), message
        pop.quit()


def test_the_declared_and_the_real_size_are_both_held_to_the_limit(folder):
    with Server(folder + "/data", "--max-message-size", "100KiB") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == str(100 << 10)
            assert smtp.mail("a@example.com", ["size=200000"])[0] == 552
            smtp.mail("a@example.com")
            smtp.rcpt(USER)
            code, text = smtp.data("Subject: x\r\n\r\n" + ("y" * 70 + "\r\n") * 2000)
            assert (code, text[:5]) == (552, b"5.3.4"), (code, text)
            smtp.mail("a@example.com")  # and the session goes on
            smtp.rcpt(USER)
            assert smtp.data("Subject: x\r\n\r\n" + "y" * 70 + "\r\n")[0] == 250
        pop = open_maildrop(server)
        assert pop.stat()[0] == 1
        pop.quit()


def test_swaks_names_the_client_by_XCLIENT(folder):
    if shutil.which("swaks") is None:
        raise Skip("swaks is not installed")
    with Server(folder + "/data", "--set", "xclient.peers=127.0.0.1") as server:
        result = subprocess.run(
            ["swaks", "--server", f"127.0.0.1:{server.ports['mx']}", "--from", "a@example.com", "--to", USER, "--helo",
             "proxy.test", "--xclient-addr", "192.0.2.9", "--xclient-helo", "client.test", "--xclient-login", USER],
            capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stdout + result.stderr
        pop = open_maildrop(server)
        assert b"from client.test ([192.0.2.9])" in retrieve(pop, 1)[0]
        pop.quit()
