"""A disk that takes seconds for a flush: refusals come in time, and what was refused is not there."""

import os
import smtplib
import subprocess
import time

from maildrop import content_of, open_maildrop, retrieve
from server import USER, Server
from skip import Skip, needs

DELAY_SECONDS = 6


class SlowFlush:
    """From here on every flush of the process takes some seconds, until the end of the block."""

    def __init__(self, server, folder):
        self.tracer = subprocess.Popen(
            ["strace", "-f", "-e", "trace=fdatasync", "-e", f"inject=fdatasync:delay_enter={DELAY_SECONDS}s", "-o",
             folder + "/strace", "-p", str(server.process.pid)], stderr=subprocess.PIPE)

    def __enter__(self):
        while b"attached" not in self.tracer.stderr.readline():
            assert self.tracer.poll() is None, "strace could not attach"

    def __exit__(self, *_):
        self.tracer.terminate()
        self.tracer.wait(60)


def test_a_slow_flush_is_answered_451_and_the_message_is_not_there_twice(folder):
    needs("strace")
    if os.geteuid() != 0:
        raise Skip("attaching strace needs root")
    with Server(folder + "/data", "--set", "store.commit_deadline=2s", "--set", "store.slow_after=1s") as server:
        content = b"Subject: %d\r\n\r\nx\r\n"
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.sendmail("a@example.com", [USER], content % 0)
        time.sleep(0.5)  # an idle log flushes once more, to prove its last group
        smtp = smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=60)
        smtp.ehlo()
        pop = open_maildrop(server)
        with SlowFlush(server, folder):
            began = time.monotonic()
            smtp.mail("a@example.com")
            smtp.rcpt(USER)
            code, text = smtp.data(content % 1)
            took = time.monotonic() - began
            assert (code, text[:5]) == (451, b"4.4.5"), (code, text)
            assert took < DELAY_SECONDS, took
            began = time.monotonic()
            code, text = smtp.mail("a@example.com")
            assert (code, text[:5]) == (451, b"4.3.2"), (code, text)
            with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as other:
                other.ehlo()
                code, text = other.mail("a@example.com")
                assert (code, text[:5]) == (451, b"4.3.2"), (code, text)
            assert content_of(retrieve(pop, 1)[0]) == content % 0  # existing mail is served meanwhile
            assert time.monotonic() - began < 2, "a refusal and a retrieval wait for the disk"
            pop.dele(1)
            began = time.monotonic()
            try:
                pop.quit()
                raise AssertionError("a removal that is not durable was answered +OK")
            except Exception as e:
                assert b"[SYS/TEMP]" in e.args[0], e
            assert time.monotonic() - began < DELAY_SECONDS
        deadline = time.monotonic() + 60
        while smtp.mail("a@example.com")[0] != 250:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        smtp.rcpt(USER)
        code, text = smtp.data(content % 1)  # the client's next attempt
        assert code == 250, (code, text)
        smtp.quit()
        pop = open_maildrop(server)
        found = [content_of(retrieve(pop, n + 1)[0]) for n in range(pop.stat()[0])]
        assert found.count(content % 1) == 1, found
        pop.quit()
        server.kill()
        server.start()
        pop = open_maildrop(server)
        assert [content_of(retrieve(pop, n + 1)[0]) for n in range(pop.stat()[0])] == found
        pop.quit()
