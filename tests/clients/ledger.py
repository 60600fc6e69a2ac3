"""What was sent and what was acknowledged, kept outside the server, and the judgement over a maildrop by it."""

import hashlib
import random
import smtplib
import threading

from maildrop import content_of, open_maildrop, retrieve
from server import USER


class Lost(AssertionError):
    """An acknowledged message is not there."""


class Ledger:
    """Every message before its final dot leaves, and those that were answered 250."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent, self.acked = set(), set()
        self.refused = []  # replies other than 250, each of which ended its client

    def clear(self):
        self.sent.clear()
        self.acked.clear()

    def judge(self, server, delete):
        """Nothing acknowledged is lost, nothing is there twice, half, or unsent; returns the number of messages."""
        pop = open_maildrop(server)
        count = pop.stat()[0]
        found = set()
        for number in range(1, count + 1):
            message, octets = retrieve(pop, number)
            assert len(message) == octets
            digest = hashlib.sha256(content_of(message)).hexdigest()
            assert digest not in found, f"message {number} is there twice"
            assert digest in self.sent, f"message {number} was never sent like this: {message[:300]}"
            found.add(digest)
            if delete:
                pop.dele(number)
        pop.quit()
        lost = self.acked - found
        if lost:
            raise Lost(f"{len(lost)} of {len(self.acked)} acknowledged messages are lost")
        if delete:
            self.clear()
        return count


    def thin(self, server):
        """Removes every other message; from here on they must not be seen again. Nothing is being sent meanwhile."""
        pop = open_maildrop(server)
        gone = set()
        for number in range(1, pop.stat()[0] + 1, 2):
            gone.add(hashlib.sha256(content_of(retrieve(pop, number)[0])).hexdigest())
            pop.dele(number)
        pop.quit()
        self.sent -= gone
        self.acked -= gone


def send_until_gone(port, ledger, seed, sender, cycle, sizes):
    """One client: message after message of random size, until the server refuses or is gone."""
    chance = random.Random(seed * 1_000_003 + cycle * 1009 + sender)
    number = 0
    try:
        smtp = smtplib.SMTP("127.0.0.1", port, timeout=30)
        smtp.ehlo()
        while True:
            number += 1
            content = b"X-Id: %d.%d.%d\r\n\r\n" % (cycle, sender, number)
            content += (b"." + b"y" * 70 + b"\r\n") * (chance.choice(sizes) // 73)
            digest = hashlib.sha256(content).hexdigest()
            reply = smtp.mail("a@example.com")
            reply = smtp.rcpt(USER) if reply[0] == 250 else reply
            if reply[0] == 250:
                with ledger.lock:
                    ledger.sent.add(digest)
                reply = smtp.data(content)
            with ledger.lock:
                if reply[0] != 250:
                    ledger.refused.append(reply)
                    return
                ledger.acked.add(digest)
    except (smtplib.SMTPException, OSError):
        return  # the server is gone, which is what these tests are about


def start_senders(server, ledger, count, seed, cycle, sizes):
    """That many clients, each on its own thread; join them when the server is gone."""
    senders = [threading.Thread(target=send_until_gone, args=(server.ports["mx"], ledger, seed, sender, cycle, sizes))
               for sender in range(count)]
    for sender in senders:
        sender.start()
    return senders
