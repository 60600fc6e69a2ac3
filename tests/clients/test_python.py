"""Python's smtplib and poplib."""

import poplib
import smtplib

from server import PASSWORD, USER, Server


def fetch(server, number, user=USER):
    pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
    pop.user(user)
    pop.pass_(PASSWORD)
    _, lines, octets = pop.retr(number)
    pop.quit()
    content = b"".join(line + b"\r\n" for line in lines)
    assert len(content) == octets, (len(content), octets)
    return content


def test_the_classic_smtplib_script_works_as_it_stands(folder):
    with Server(folder + "/data") as server:
        smtp = smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30)
        assert smtp.ehlo()[0] == 250
        assert smtp.mail("sender@example.com")[0] == 250
        assert smtp.rcpt(USER)[0] == 250
        assert smtp.data("Subject: Test Mail\n\nThis is a test email.\n")[0] == 250
        assert smtp.quit()[0] == 221
        content = fetch(server, 1)
        trace, _, body = content.partition(b"Subject: ")
        assert body == b"Test Mail\r\n\r\nThis is a test email.\r\n", content
        assert trace.startswith(b"Return-Path: <sender@example.com>\r\nReceived: from "), trace
        assert b"by mx.local.test with ESMTP id " in trace.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" "), trace


def test_submission_logs_in_with_plain_and_login(folder):
    with Server(folder + "/data") as server:
        for mechanism in ("auth_plain", "auth_login"):
            with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as smtp:
                smtp.ehlo()
                smtp.user, smtp.password = USER, PASSWORD
                assert smtp.auth(mechanism[5:].upper(), getattr(smtp, mechanism))[0] == 235
                smtp.sendmail(USER, [USER], f"Subject: {mechanism}\r\n\r\nx\r\n")
        assert b"Subject: auth_plain" in fetch(server, 1)
        assert b"with ESMTPA id" in fetch(server, 2)


def test_submission_without_a_login_or_with_a_wrong_password_is_refused(folder):
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as smtp:
            smtp.ehlo()
            assert smtp.mail(USER) [0] == 530
            try:
                smtp.login(USER, "wrong")
                raise AssertionError("logged in with a wrong password")
            except smtplib.SMTPAuthenticationError as e:
                assert e.smtp_code == 535, e


def test_mx_takes_hosted_recipients_only(folder):
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.ehlo()
            smtp.mail("a@example.com")
            assert smtp.rcpt("someone@elsewhere.test") == (550, b"5.7.1 Relaying denied"), smtp.rcpt("x@elsewhere.test")
            assert smtp.rcpt("nobody@local.test")[0] == 550
            assert b"5.1.1" in smtp.rcpt("nobody@local.test")[1]
            assert smtp.rcpt("U@LOCAL.test")[0] == 250
            assert smtp.rcpt("postmaster")[0] == 250


def test_pop3_keeps_its_lock_and_its_deletions(folder):
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            for n in range(3):
                smtp.sendmail("a@example.com", [USER], f"Subject: {n}\r\n\r\nbody {n}\r\n")
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.user(USER)
        pop.pass_(PASSWORD)
        uids = [line.split()[1] for line in pop.uidl()[1]]
        assert len(set(uids)) == 3
        assert pop.stat()[0] == 3
        for attempt in range(2):  # a refused session must not free the lock it never had
            other = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
            other.user(USER)
            try:
                other.pass_(PASSWORD)
                raise AssertionError("two sessions hold one maildrop")
            except poplib.error_proto as e:
                assert b"[IN-USE]" in e.args[0], e
            other.close()
        pop.dele(2)
        assert pop.stat()[0] == 2
        pop.quit()
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.user(USER)
        pop.pass_(PASSWORD)
        assert [line.split()[1] for line in pop.uidl()[1]] == [uids[0], uids[2]]
        pop.dele(1)
        pop.close()  # no QUIT: nothing is removed
        server.stop()
        server.start()
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.user(USER)
        pop.pass_(PASSWORD)
        assert [line.split()[1] for line in pop.uidl()[1]] == [uids[0], uids[2]]
        assert pop.top(2, 0)[1][-1] == b""
        pop.quit()
