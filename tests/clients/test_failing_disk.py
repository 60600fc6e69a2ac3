"""A flush that fails is never followed by a 250, and the server ends so that it can be started again."""

import hashlib
import os
import smtplib
import subprocess
import time

from maildrop import content_of, open_maildrop, retrieve
from server import USER, Server
from skip import Skip, needs


def test_a_failed_flush_acknowledges_nothing_and_ends_the_server(folder):
    needs("strace")
    if os.geteuid() != 0:
        raise Skip("attaching strace needs root")
    with Server(folder + "/data") as server:
        acked = []
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.ehlo()
            for number in range(10):
                content = b"Subject: %d\r\n\r\nx\r\n" % number
                smtp.sendmail("a@example.com", [USER], content)
                acked.append(hashlib.sha256(content).hexdigest())
        time.sleep(0.5)  # an idle log flushes once more, to prove its last group
        # From here on every flush answers EIO, while the writes still reach the page cache.
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO", "-o", folder + "/strace",
             "-p", str(server.process.pid)], stderr=subprocess.PIPE)
        try:
            while b"attached" not in tracer.stderr.readline():
                assert tracer.poll() is None, "strace could not attach"
            with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
                smtp.ehlo()
                smtp.mail("a@example.com")
                smtp.rcpt(USER)
                code, text = smtp.data(b"Subject: doubtful\r\n\r\nx\r\n")
                assert (code, text[:5]) == (451, b"4.3.0"), (code, text)
                assert smtp.mail("a@example.com")[0] in (451, 421)
                while (code := smtp.noop()[0]) != 421:
                    assert code == 250, code
        except smtplib.SMTPServerDisconnected:
            pass  # the farewell was read by the command before: as good
        finally:
            code = server.process.wait(40)
            tracer.wait(10)
        assert code == 74, code
        assert "errno 5" in server.log(), server.log()
        with open(folder + "/strace", encoding="utf-8") as f:
            # Files that are being made for later are begun anew; the segment that mail went to is never flushed again.
            failed = [line for line in f if "INJECTED" in line and ".seg>" in line]
            assert len(failed) == 1, failed
        server.start()
        pop = open_maildrop(server)
        found = [hashlib.sha256(content_of(retrieve(pop, n + 1)[0])).hexdigest() for n in range(pop.stat()[0])]
        pop.quit()
        assert found[:10] == acked and len(found) <= 11, found
