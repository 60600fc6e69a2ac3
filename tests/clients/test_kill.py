"""kill -9 at random moments under load, judged by a ledger outside the server."""

import hashlib
import os
import random
import smtplib
import threading
import time

from maildrop import content_of, open_maildrop, retrieve
from server import USER, Server

CYCLES = int(os.environ.get("KILL_CYCLES", "50"))
SEED = int(os.environ.get("KILL_SEED", "1939"))
SENDERS = 8
READY_SECONDS = 2.0


class Ledger:
    """What the clients know: every message before its final dot leaves, and those that were answered 250."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent, self.acked = set(), set()

    def __repr__(self):
        return f"{len(self.sent)} sent, {len(self.acked)} acknowledged"


def send_until_killed(server, ledger, sender, cycle):
    chance = random.Random(SEED * 1_000_003 + cycle * 1009 + sender)
    number = 0
    try:
        smtp = smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30)
        smtp.ehlo()
        while True:
            number += 1
            size = chance.choice((0, 100, 1000, 1000, 1000, 10_000, 300_000))
            content = b"X-Id: %d.%d.%d\r\n\r\n" % (cycle, sender, number) + (b"." + b"y" * 70 + b"\r\n") * (size // 73)
            digest = hashlib.sha256(content).hexdigest()
            smtp.mail("a@example.com")
            smtp.rcpt(USER)
            with ledger.lock:
                ledger.sent.add(digest)
            code, text = smtp.data(content)
            assert code == 250, (code, text)
            with ledger.lock:
                ledger.acked.add(digest)
    except (smtplib.SMTPException, OSError):
        return  # the server is gone, which is what this test is about


def check(server, ledger, delete):
    pop = open_maildrop(server)
    count = pop.stat()[0]
    found = set()
    for number in range(1, count + 1):
        message, octets = retrieve(pop, number)
        assert len(message) == octets
        digest = hashlib.sha256(content_of(message)).hexdigest()
        assert digest not in found, f"message {number} is there twice"
        assert digest in ledger.sent, f"message {number} was never sent like this: {message[:300]}"
        found.add(digest)
        if delete:
            pop.dele(number)
    pop.quit()
    lost = ledger.acked - found
    assert not lost, f"{len(lost)} of {len(ledger.acked)} acknowledged messages are lost"
    if delete:
        ledger.sent.clear()
        ledger.acked.clear()


def test_kill_9_under_load_loses_nothing_acknowledged(folder):
    chance = random.Random(SEED)
    print(f"        kill -9: {CYCLES} cycles, seed {SEED}", flush=True)
    server = Server(folder + "/data")
    ledger = Ledger()
    slowest, acked = 0.0, 0
    try:
        for cycle in range(CYCLES):
            senders = [threading.Thread(target=send_until_killed, args=(server, ledger, s, cycle)) for s in range(SENDERS)]
            for sender in senders:
                sender.start()
            time.sleep(chance.uniform(0.05, 0.8))
            server.kill()
            for sender in senders:
                sender.join()
            server.start()
            slowest = max(slowest, server.ready_seconds)
            if cycle % 5 == 4 or cycle == CYCLES - 1:
                acked += len(ledger.acked)
                check(server, ledger, delete=cycle % 10 == 9)
        assert slowest < READY_SECONDS, f"ready after {slowest:.2f} s"
        print(f"        {acked} acknowledged, none lost; slowest start {slowest:.2f} s", flush=True)
    finally:
        if server.process.poll() is None:
            server.kill()
