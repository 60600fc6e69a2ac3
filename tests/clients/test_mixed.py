"""Messages of every shape and size over many connections come back as they were, each exactly once."""

import collections
import hashlib
import os
import queue
import random
import smtplib
import threading

from maildrop import content_of, open_maildrop, retrieve
from server import USER, Server

COUNT = int(os.environ.get("MIXED_MESSAGES", "10000"))
CONNECTIONS = 50
SEED = 20261122
LARGEST = 25_000_000


def make(number):
    """Content in CRLF form without dot-stuffing, as it must come back; it never begins with white space."""
    chance = random.Random(SEED + number)
    if number % 500 == 0:
        return b""
    if number % (COUNT // 8) == 7:
        size = LARGEST
    elif number % 100 == 1:
        size = chance.randrange(100_000, 1_000_000)
    else:
        size = int(chance.expovariate(1 / 3000))
    head = b"" if number % 10 == 3 else b"Subject: message %d\r\nX-Number: %d\r\n\r\n" % (number, number)
    lines, length = [head], len(head)
    block = chance.randbytes(4096)
    while length < size:
        kind = chance.randrange(8)
        if kind == 0:
            line = b"." * chance.randrange(1, 5) + b"dots"[:chance.randrange(5)]
        elif kind == 1:
            line = b""
        elif kind == 2:
            line = bytes(b | 0x80 for b in block[:chance.randrange(1, 70)])
        elif kind == 3:
            line = b"x" * 998
        else:
            start = chance.randrange(3000)
            line = bytes(33 + b % 90 for b in block[start:start + 76])
        if size > 50_000:
            line = line + b"\r\n" + (b"a line of plain text that is repeated many times in here\r\n." * 100)[:5900]
            line = b"\r\n".join(part[:900] for part in line.split(b"\r\n"))
        lines.append(line + b"\r\n")
        length += len(line) + 2
    return b"".join(lines)


def as_served(content):
    """A message whose header section nothing ends gets the empty line that some clients hang without."""
    has_end = content.startswith(b"\r\n") or b"\r\n\r\n" in content
    return content if has_end else content + b"\r\n"


def send_all(server, numbers, digests, failures):
    smtp = smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=120)
    smtp.ehlo()
    try:
        while True:
            try:
                number = numbers.get_nowait()
            except queue.Empty:
                smtp.quit()
                return
            content = make(number)
            assert smtp.mail("a@example.com", ["body=8bitmime"])[0] == 250
            assert smtp.rcpt(USER)[0] == 250
            if content == b"":  # nothing between the two commands, which smtplib's data() cannot say
                assert smtp.docmd("DATA")[0] == 354
                smtp.send(b".\r\n")
                code, text = smtp.getreply()
            else:
                # Every third one without the last line end, which smtplib then adds.
                code, text = smtp.data(content[:-2] if number % 3 == 0 and content.endswith(b"x\r\n") else content)
            assert code == 250, (number, code, text)
            digests.append(hashlib.sha256(as_served(content)).hexdigest())
    except Exception as e:  # handed to the main thread, which fails the test with it
        failures.append(e)


def test_mixed_messages_come_back_identical_and_once(folder):
    with Server(folder + "/data") as server:
        numbers = queue.Queue()
        for number in range(COUNT):
            numbers.put(number)
        digests, failures = [], []
        threads = [threading.Thread(target=send_all, args=(server, numbers, digests, failures))
                   for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        assert len(digests) == COUNT
        check(server, collections.Counter(digests))
        assert server.stop() == 0
        server.start()
        check(server, collections.Counter(digests))


def check(server, expected):
    pop = open_maildrop(server)
    sizes = [int(line.split()[1]) for line in pop.list()[1]]
    assert len(sizes) == COUNT, len(sizes)
    assert pop.stat() == (COUNT, sum(sizes))
    found = collections.Counter()
    for index, size in enumerate(sizes):
        message, octets = retrieve(pop, index + 1)
        assert len(message) == octets == size, (index, len(message), octets, size)
        found[hashlib.sha256(content_of(message)).hexdigest()] += 1
    pop.quit()
    assert found == expected
