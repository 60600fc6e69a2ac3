"""Mail for others: two FastMails by MX, Postfix and Exim as next hops and as sources over STARTTLS, DNS that fails.

In each test mail is submitted or handed over on one side and collected over POP3 on the other.
"""

import contextlib
import glob
import hashlib
import os
import re
import smtplib
import socket
import subprocess
import time

import mtas
import server
from dns_server import DnsServer
from maildrop import open_maildrop, retrieve
from server import PASSWORD, USER, Server, run
from skip import needs

BOB = "bob@b.test"
COUNT = 24


def letters(sender, count=COUNT):
    """Letters by their marks; bodies that tempt a relay: dots, long lines, no final line end, a megabyte."""
    bodies = [b".", b"..\r\n.\r\n", b"x" * 990 + b"\r\n", "na\u00efve \u20ac\r\n".encode(), b"", b"a\r\n" * 30_000, b"z" * 70 + b"\r\n"]
    made = {}
    for n in range(count):
        mark = hashlib.sha256(b"%s %d" % (sender.encode(), n)).hexdigest()
        made[mark] = (f"From: {sender}\r\nTo: {BOB}\r\nSubject: {mark}\r\n\r\n".encode() + bodies[n % len(bodies)])
    return made


def submit(relay, sent, recipients=(BOB,), sender=USER):
    with smtplib.SMTP("127.0.0.1", relay.ports["submission"], timeout=60) as client:
        client.login(USER, PASSWORD)
        for letter in sent.values():
            client.sendmail(sender, recipients, letter, mail_options=["BODY=8BITMIME"])


def collect(store, count, user=BOB, wait=90, logs=()):
    """Everything in a maildrop once so many messages are there: relays work at their own pace."""
    deadline = time.monotonic() + wait
    while True:
        pop = open_maildrop(store, user)
        got = [retrieve(pop, number)[0] for number in range(1, pop.stat()[0] + 1)]
        pop.quit()
        if len(got) >= count:
            return got
        assert time.monotonic() < deadline, (len(got), count, store.log()[-2000:], *(log()[-2000:] for log in logs))
        time.sleep(0.2)


def check(sent, got):
    """Each letter has come once, with its octets."""
    assert len(got) == len(sent), (len(got), len(sent))
    seen = set()
    for octets in got:
        header, body = octets.split(b"\r\n\r\n", 1)
        mark = header.split(b"Subject: ", 1)[1][:64].decode()
        assert mark not in seen, mark
        seen.add(mark)
        expected = sent[mark].split(b"\r\n\r\n", 1)[1]
        if expected and not expected.endswith(b"\r\n"):
            expected += b"\r\n"  # every line ends in the dialog
        assert body == expected, (mark, len(body), len(expected), body[:200])
    return got


def received(octets):
    """The Received fields, the newest first, each on one line."""
    lines = octets.split(b"\r\n\r\n", 1)[0].replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ").split(b"\r\n")
    return [line.decode("latin1") for line in lines if line.lower().startswith(b"received:")]


def authority(folder, *names):
    """A certificate authority, and a certificate from it for each name: the file of the first, pairs of files by name."""
    needs("openssl")

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=tests",
            "-addext", "basicConstraints=critical,CA:TRUE")
    pairs = {}
    for name in names:
        with open(f"{folder}/{name}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{name}\n")
        openssl("req", "-new", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        for end in ("pem", "key"):
            os.chmod(f"{folder}/{name}.{end}", 0o644)  # the MTAs read them under their own users
        pairs[name] = (f"{folder}/{name}.pem", f"{folder}/{name}.key")
    return f"{folder}/ca.pem", pairs


@contextlib.contextmanager
def store_of_bob(folder, *options):
    """A FastMail that hosts b.test."""
    with Server(folder + "/b", *options, accounts=(BOB,)) as store:
        yield store


def relay_options(dns, *more):
    return ("--set", f"dns.servers=127.0.0.1:{dns.port}", "--set", "dns.timeout=2s", "--retry-min", "1s", *more)


def folder_in(folder, name):
    os.chmod(folder, 0o755)
    path = os.path.join(folder, name)
    os.makedirs(path)
    return path


def test_mail_goes_by_mx_from_one_fastmail_to_another(folder):
    with DnsServer("b.test MX 5 dead.b.test", "b.test MX 10 mx.b.test", "mx.b.test A 127.0.0.1", "dead.b.test A 127.0.0.9") as dns, \
            store_of_bob(folder) as b, \
            Server(folder + "/a", *relay_options(dns, "--route", f"*=mx:{b.ports['mx']} private")) as a:
        sent = letters(USER)
        submit(a, sent)
        got = check(sent, collect(b, len(sent), logs=[a.log]))
        for octets in got:
            last, first = received(octets)
            assert "ESMTPSA id" in first or "ESMTPA id" in first, first
            assert "with ESMTPS id" in last, last  # STARTTLS where it is offered, whatever the certificate
        assert ("b.test", 15, "udp") in dns.asked, dns.asked
        assert sum(1 for question in dns.asked if question[:2] == ("b.test", 15)) == 1, dns.asked  # and not for each message


def test_mail_does_not_wait_for_an_address_that_does_not_answer(folder):
    with DnsServer("b.test MX 10 mx.b.test", "mx.b.test AAAA ::1", "mx.b.test A 127.0.0.1") as dns, \
            store_of_bob(folder) as b, socket.socket(socket.AF_INET6) as hole, socket.socket(socket.AF_INET6) as first, \
            Server(folder + "/a", *relay_options(
                dns, "--set", "relay.connect_timeout=10min", "--route", f"*=mx:{b.ports['mx']} private")) as a:
        hole.bind(("::1", b.ports["mx"]))
        hole.listen(0)
        first.connect(hole.getsockname())  # the one it has room for: from now on nobody gets an answer there
        sent = letters(USER)
        submit(a, sent)
        check(sent, collect(b, len(sent), logs=[a.log]))


def test_a_certificate_for_the_name_is_demanded_where_the_route_says_so(folder):
    ca, pairs = authority(folder, "mx.b.test", "other.test")
    with DnsServer("b.test MX 10 mx.b.test", "mx.b.test A 127.0.0.1") as dns:
        for name, arrives in (("mx.b.test", True), ("other.test", False)):
            home = folder_in(folder, "run-" + name)
            with store_of_bob(home, "--tls-cert", pairs[name][0], "--tls-key", pairs[name][1]) as b, \
                    Server(home + "/a", *relay_options(
                        dns, "--set", f"relay.tls_ca={ca}", "--route", f"b.test=mx:{b.ports['mx']} private tls=verify")) as a:
                sent = letters(USER, 2)
                submit(a, sent)
                if arrives:
                    got = check(sent, collect(b, len(sent), logs=[a.log]))
                    name = re.search(r"\bid ([0-9A-Z]{13})\b", received(got[0])[-1])[1]
                    wait_for(lambda: "delivered" in explain(a, name), a.log)
                    assert re.search(
                        r" routed <bob@b\.test>: goes to b\.test:\d+ tls=verify, decided by: route\.table 'b\.test=mx.*\n"
                        r".* delivered <bob@b\.test>: mx\.b\.test\[127\.0\.0\.1\]:\d+ 250 .*"
                        r"; TLSv1\.\d TLS_\w+, certificate verified by WebPKI \(tls= of the route\)\n", explain(a, name)), explain(a, name)
                    continue
                # The host is never told a word of the mail; the log says why.
                wait_for(lambda: "the certificate is not for mx.b.test" in a.log(), a.log)
                assert collect(b, 0) == []


def wait_for(condition, tell, wait=60):
    deadline = time.monotonic() + wait
    while not condition():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.2)


def explain(relay, name):
    return run("queue", "explain", name, "--data", relay.data).stdout


def outcomes(relay):
    """The octets of the mail log, where each attempt is written down with the words of its reply."""
    octets = b""
    for path in glob.glob(relay.data + "/log/*.seg"):
        with open(path, "rb") as f:
            octets += f.read()
    return octets


def through(folder, make, tls):
    """FastMail, then the MTA over verified STARTTLS, then FastMail."""
    ca, pairs = authority(folder, "mta.test")
    with store_of_bob(folder) as b, \
            make(folder_in(folder, "mta"), b.ports["mx"], tls, certificate=pairs["mta.test"]) as mta, \
            Server(folder + "/a", "--set", f"relay.tls_ca={ca}", "--retry-min", "1s",
                   "--route", f"b.test=127.0.0.1:{mta.port} tls=verify name=mta.test") as a:
        sent = letters(USER)
        submit(a, sent)
        got = check(sent, collect(b, len(sent), logs=[a.log, mta.log]))
        for octets in got:
            assert any("ESMTPS" in field or "esmtps" in field for field in received(octets)[1:2]), received(octets)


def test_mail_goes_through_postfix_over_starttls(folder):
    through(folder, mtas.postfix, "smtp_tls_security_level = encrypt")


def test_mail_goes_through_exim_over_starttls(folder):
    through(folder, mtas.exim, "  hosts_require_tls = *\n")


def from_mta(folder, make, tls):
    """The MTA over STARTTLS, then a FastMail that relays for it by MX, then FastMail."""
    with DnsServer("b.test MX 10 mx.b.test", "mx.b.test A 127.0.0.1") as dns, store_of_bob(folder) as b, \
            Server(folder + "/a", *relay_options(
                dns, "--relay-from", "127.0.0.1/32", "--route", f"*=mx:{b.ports['mx']} private")) as a, \
            make(folder_in(folder, "mta"), a.ports["mx"], tls) as mta:
        sent = letters("someone@elsewhere.test")
        with smtplib.SMTP("127.0.0.1", mta.port, timeout=30) as client:
            for letter in sent.values():
                client.sendmail("someone@elsewhere.test", [BOB], letter, mail_options=["BODY=8BITMIME"])
        got = check(sent, collect(b, len(sent), logs=[a.log, mta.log]))
        assert all(len(received(octets)) == 3 and "with ESMTPS id" in received(octets)[1] for octets in got), received(got[0])


def test_mail_comes_from_postfix_over_starttls(folder):
    from_mta(folder, mtas.postfix, "smtp_tls_security_level = encrypt")


def test_mail_comes_from_exim_over_starttls(folder):
    from_mta(folder, mtas.exim, "  hosts_require_tls = *\n")


def test_mail_waits_while_dns_fails_and_goes_when_it_is_back(folder):
    with DnsServer("b.test SILENT", "c.test FAIL", "d.test MX 10 mx.d.test", "mx.d.test A 127.0.0.1") as dns, \
            Server(folder + "/b", accounts=(BOB, "carl@c.test", "dora@d.test")) as b, \
            Server(folder + "/a", *relay_options(dns, "--route", f"*=mx:{b.ports['mx']} private")) as a:
        sent = letters(USER, 3)
        submit(a, sent, recipients=(BOB, "carl@c.test", "dora@d.test"))
        check(sent, collect(b, len(sent), user="dora@d.test", logs=[a.log]))  # others do not wait
        for domain in (b"b.test", b"c.test"):
            wait_for(lambda: b"4.4.3 The MX of " + domain in outcomes(a), a.log)
        assert collect(b, 0) == []
        for domain in ("b.test", "c.test"):
            dns.remove(domain)
            dns.add(f"{domain} MX 10 mx.d.test")
        for user in (BOB, "carl@c.test"):
            check(sent, collect(b, len(sent), user=user, logs=[a.log]))


def test_mail_for_nobody_comes_back_and_says_why(folder):
    with DnsServer("null.test MX 0 .", "b.test MX 1 mx.b.test", "mx.b.test A 127.0.0.1") as dns, store_of_bob(folder) as b, \
            Server(folder + "/a", *relay_options(dns, "--route", f"*=mx:{b.ports['mx']} private")) as a:
        for address, status in (("x@null.test", b"5.1.10"), ("x@nowhere.test", b"5.1.2"), ("nobody@b.test", b"5.1.1")):
            before = len(collect(a, 0, user=USER))
            submit(a, letters(USER, 1), recipients=(address,))
            notice = collect(a, before + 1, user=USER, logs=[a.log])[-1]
            assert b"Return-Path: <>" in notice and b"multipart/report" in notice, notice[:1000]
            assert b"Status: " + status in notice and address.encode() in notice, (address, notice)


def test_etrn_sends_what_waits_for_a_routed_domain(folder):
    with store_of_bob(folder) as b:
        port = b.ports["mx"]
        b.stop()
        with Server(folder + "/a", "--route", f"b.test=127.0.0.1:{port}", "--retry-min", "10min") as a:
            sent = letters(USER, 3)
            submit(a, sent)
            wait_for(lambda: "refused" in a.log(), a.log)
            b.options += ["--mx", f"127.0.0.1:{port}"]
            b.start()
            with smtplib.SMTP("127.0.0.1", a.ports["mx"], timeout=30) as client:
                client.ehlo("b.test")
                assert client.has_extn("etrn"), client.esmtp_features
                assert client.docmd("ETRN", "elsewhere.test")[0] == 459
                answer = client.docmd("ETRN", "b.test")
                assert answer[0] in (250, 251), answer  # 251: the relay has looked by itself just before
            check(sent, collect(b, len(sent), logs=[a.log]))
            with smtplib.SMTP("127.0.0.1", a.ports["mx"], timeout=30) as client:
                client.ehlo("b.test")
                assert client.docmd("ETRN", "@b.test")[0] in (251, 458)
