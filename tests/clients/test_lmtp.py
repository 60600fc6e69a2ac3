"""LMTP as Python's own client speaks it, and the header fields that a submission gets."""

import os
import smtplib
import stat

from maildrop import content_of, open_maildrop, retrieve
from server import PASSWORD, USER, Server, run

OTHER = "v@local.test"


def test_smtplib_delivers_over_LMTP_and_hears_of_each_recipient(folder):
    content = b"Subject: lmtp\r\n\r\n.dot\r\n"
    with Server(folder + "/data", "--lmtp", "127.0.0.1:0", accounts=(USER, OTHER)) as server:
        with smtplib.LMTP("127.0.0.1", server.ports["lmtp"], timeout=30) as lmtp:
            code, _ = lmtp.docmd("EHLO", "c.test")
            assert code == 500
            refused = lmtp.sendmail("a@example.com", [USER, OTHER, "nobody@local.test"], content)
            assert list(refused) == ["nobody@local.test"] and refused["nobody@local.test"][0] == 550, refused
            # sendmail reads one reply; the second recipient's is still on its way.
            assert lmtp.getreply()[0] == 250
            assert lmtp.noop()[0] == 250
        pop = open_maildrop(server)
        message = retrieve(pop, 1)[0]
        assert content_of(message) == content
        assert b" with LMTP id " in message.replace(b"\r\n\t", b" "), message
        pop.quit()


def test_each_recipient_hears_of_its_own_quota(folder):
    third = "w@local.test"
    content = b"Subject: x\r\n\r\n" + (b"y" * 98 + b"\r\n") * 7000
    with Server(folder + "/data", "--lmtp", "127.0.0.1:0", "--set", "quota.octets=1MiB",
                accounts=(USER, OTHER, third)) as server:
        def fastmail(*args):
            result = run(*args, "--data", server.data)
            assert result.returncode == 0, result

        def send(*recipients):
            """The code and enhanced code of each recipient; the size is not declared."""
            lmtp.mail("a@example.com")
            assert [lmtp.rcpt(address)[0] for address in recipients] == [250] * len(recipients)
            replies = [lmtp.data(content), *(lmtp.getreply() for _ in recipients[1:])]
            return [f"{code} {text.split()[0].decode()}" for code, text in replies]

        fastmail("account", "quota", OTHER, "--octets", "none")
        fastmail("account", "quota", third, "--octets", "100KiB")
        fastmail("alias", "add", "both@local.test", USER, OTHER)
        with smtplib.LMTP("127.0.0.1", server.ports["lmtp"], timeout=30) as lmtp:
            lmtp.ehlo("c.test")
            assert send(USER, OTHER) == ["250 2.0.0"] * 2
            assert send(OTHER, USER, third) == ["250 2.0.0", "452 4.2.2", "552 5.2.2"]
            # All of an alias or none, but who is named otherwise too gets it by that.
            assert send("both@local.test") == ["452 4.2.2"]
            assert send("both@local.test", OTHER) == ["452 4.2.2", "250 2.0.0"]
            assert send(third, USER) == ["552 5.2.2", "452 4.2.2"]
            assert lmtp.noop()[0] == 250
        server.kill()
        server.start()
        for address, count in ((USER, 1), (OTHER, 3), (third, 0)):
            pop = open_maildrop(server, address)
            assert pop.stat()[0] == count, address
            for number in range(1, count + 1):
                assert content_of(retrieve(pop, number)[0]) == content
            pop.quit()
        fastmail("log", "verify")


def test_LMTP_over_a_unix_socket(folder):
    path = folder + "/lmtp.sock"
    content = b"Subject: lmtp\r\n\r\nx\r\n"
    with Server(folder + "/data", "--lmtp", "unix:" + path, "--set", "limits.connections_per_address=1",
                exempt="192.0.2.1") as server:
        assert f" lmtp=unix:{path}" in server.ready_line, server.ready_line
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        with smtplib.LMTP(path) as lmtp, smtplib.LMTP(path) as other:  # no client address, so nothing is counted by it
            assert lmtp.sendmail("a@example.com", [USER], content) == {}
            assert other.sendmail("a@example.com", [USER], content) == {}
            lmtp.mail("a@example.com")
            assert lmtp.rcpt("postmaster@[127.0.0.1]")[0] == 550  # it has not called at an address
        pop = open_maildrop(server)
        message = retrieve(pop, 1)[0]
        assert content_of(message) == content
        assert b" (local)\r\n\tby mx.local.test with LMTP id " in message, message
        pop.quit()

        assert_refused(folder + "/other", path, "Address already in use")  # somebody listens there
        server.kill()
        assert os.path.exists(path)
        server.start()  # what a killed server left behind is replaced
        with smtplib.LMTP(path) as lmtp:
            assert lmtp.noop()[0] == 250
        assert server.stop() == 0
        assert not os.path.exists(path)


def test_a_unix_socket_takes_no_other_file_away(folder):
    path = folder + "/file"
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    assert_refused(folder + "/data", path, "no socket")
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"
    os.mkfifo(folder + "/pipe")
    assert_refused(folder + "/data", folder + "/pipe", "no socket")
    assert_refused(folder + "/data", folder + "/absent/lmtp.sock", "unix:" + folder)
    for wrong in (folder + "/" + 100 * "x", "", folder + "/"):
        result = run("serve", "--data", folder + "/data", "--lmtp", "unix:" + wrong)
        assert result.returncode == 64 and "unix" in result.stderr, (result.returncode, result.stderr)


def assert_refused(data, path, reason):
    result = run("serve", "--data", data, "--mx", "none", "--submission", "none", "--pop3", "none",
                 "--submissions", "none", "--pop3s", "none", "--lmtp", "unix:" + path)
    assert result.returncode == 78 and reason in result.stderr, (result.returncode, result.stderr)


def test_LMTP_is_not_spoken_on_port_25(folder):
    result = run("serve", "--data", folder + "/data", "--lmtp", "127.0.0.1:25")
    assert result.returncode == 64 and "port 25" in result.stderr, (result.returncode, result.stderr)


def test_a_submission_without_Date_and_Message_ID_gets_them(folder):
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=30) as smtp:
            smtp.login(USER, PASSWORD)
            smtp.sendmail(USER, [USER], b"Subject: bare\r\n\r\nx\r\n")
        pop = open_maildrop(server)
        head = retrieve(pop, 1)[0].split(b"\r\n\r\n")[0]
        assert head.count(b"\r\nDate: ") == 1 and head.count(b"\r\nMessage-ID: <") == 1, head
        pop.quit()
