"""Quotas of maildrops: at RCPT as far as SIZE= tells, and at the end of data."""

import smtplib
import threading

from maildrop import open_maildrop
from server import USER, Server, run

OTHER = "v@local.test"
MIB = 1 << 20


def quota(server, *options, address=USER):
    result = run("account", "quota", address, "--data", server.data, *options)
    assert result.returncode == 0, result
    return result.stdout.strip()


def connect(server):
    smtp = smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30)
    smtp.ehlo("client.test")
    return smtp


def content(octets):
    return b"Subject: x\r\n\r\n" + (b"y" * 98 + b"\r\n") * (octets // 100)


def held(server, address):
    pop = open_maildrop(server, address)
    count, octets = pop.stat()
    pop.quit()
    return count, octets


def test_a_declared_size_is_refused_at_rcpt_and_the_others_get_it(folder):
    with Server(folder + "/data", accounts=(USER, OTHER)) as server:
        assert quota(server) == f"{USER}: octets default, messages default"
        assert quota(server, "--octets", "1MiB") == f"{USER}: octets 1048576, messages default"
        with connect(server) as smtp:
            smtp.mail("a@example.com", ["size=2000000"])
            assert smtp.rcpt(USER)[0] == 552 and smtp.rcpt(OTHER)[0] == 250
            assert smtp.data(content(2_000_000))[0] == 250
            for expected in (250, 452):
                smtp.mail("a@example.com", ["size=600000"])
                code, text = smtp.rcpt(USER)
                assert code == expected and (code == 250 or b"4.2.2" in text), (code, text)
                assert smtp.rcpt(OTHER)[0] == 250
                assert smtp.data(content(600_000))[0] == 250
            assert held(server, USER)[0] == 1 and held(server, OTHER)[0] == 3
            pop = open_maildrop(server)
            pop.dele(1)
            pop.quit()
            smtp.mail("a@example.com", ["size=600000"])
            assert smtp.rcpt(USER)[0] == 250  # what was removed is free again
        assert quota(server, "--octets", "default", "--messages", "2") == f"{USER}: octets default, messages 2"
        assert quota(server, "--messages", "none") == f"{USER}: octets default, messages none"


def test_an_undeclared_size_is_refused_at_the_end_or_overruns_by_one_message(folder):
    with Server(folder + "/data", "--set", "quota.octets=1MiB", accounts=(USER, OTHER)) as server:
        quota(server, "--octets", "none", address=OTHER)
        with connect(server) as smtp:
            def send(octets, *recipients):
                smtp.mail("a@example.com")
                accepted = [smtp.rcpt(address)[0] for address in recipients]
                code = smtp.data(content(octets))[0] if 250 in accepted else None
                smtp.rset()
                return accepted, code

            assert send(2 * MIB, USER) == ([250], 552)
            assert send(700_000, USER) == ([250], 250)
            assert send(700_000, USER) == ([250], 452)
            assert held(server, USER)[0] == 1
            # Not full, too small, and somebody else waits for the message: over by this one, and never more.
            assert send(700_000, USER, OTHER) == ([250, 250], 250)
            assert send(700_000, USER, OTHER) == ([452, 250], 250)
            assert held(server, USER)[0] == 2 and held(server, OTHER)[0] == 2


def test_many_at_once_do_not_overrun(folder):
    with Server(folder + "/data", "--set", "quota.messages=5") as server:
        connections = [connect(server) for _ in range(12)]
        replies = []
        for smtp in connections:
            smtp.mail("a@example.com")
            replies.append(smtp.rcpt(USER)[0])
        assert replies.count(250) == 5 and replies.count(452) == 7, replies
        threads = [threading.Thread(target=smtp.data, args=(b"x\r\n",))
                   for smtp, code in zip(connections, replies) if code == 250]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert held(server, USER)[0] == 5
        with connect(server) as smtp:
            smtp.mail("a@example.com")
            assert smtp.rcpt(USER)[0] == 452
        for smtp in connections:
            smtp.close()


def test_wrong_amounts_and_unknown_accounts_are_told(folder):
    with Server(folder + "/data") as server:
        for options in (["--octets", "much"], ["--messages", "-1"], ["--messages", "0"]):
            result = run("account", "quota", USER, *options, "--data", server.data)
            assert result.returncode == 64 and options[0] in result.stderr, result
        result = run("account", "quota", "nobody@local.test", "--messages", "1", "--data", server.data)
        assert result.returncode == 67, result
