"""A gigabyte goes through in both directions while the process stays small. JUMBO_MIB sets another size."""

import hashlib
import os
import smtplib
import socket
import time

from maildrop import open_maildrop
from server import PASSWORD, USER, Server, run

MIB = int(os.environ.get("JUMBO_MIB", "1024"))
LIMIT_MIB = 200
HEAD = b"Subject: jumbo\r\n\r\n"
LINES = b"".join(b"%04d %s\r\n" % (n, b"x" * 70) for n in range(13_000)) + b".\r\n..\r\n.dot\r\n"
BLOCK = LINES + b"y" * ((1 << 20) - len(LINES) - 2) + b"\r\n"
STUFFED = (b"\r\n" + BLOCK).replace(b"\r\n.", b"\r\n..")[2:]


def peak_mib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) >> 10


def expect(file, start):
    line = file.readline()
    assert line.startswith(start), line
    while line[3:4] == b"-":
        line = file.readline()
    return line


def begin(server, size):
    s = socket.create_connection(("127.0.0.1", server.ports["mx"]), 120)
    file = s.makefile("rb")
    expect(file, b"220")
    for command, start in ((b"EHLO c", b"250"), (b"MAIL FROM:<a@example.com> SIZE=%d" % size, b"250"),
                           (b"RCPT TO:<%s>" % USER.encode(), b"250")):
        s.sendall(command + b"\r\n")
        expect(file, start)
    return s, file


def wire_hash(blocks):
    digest = hashlib.sha256(HEAD)
    for _ in range(blocks):
        digest.update(STUFFED)
    digest.update(b".\r\n")
    return digest.hexdigest()


def send_data(server, blocks):
    s, file = begin(server, len(HEAD) + blocks * len(BLOCK))
    s.sendall(b"DATA\r\n")
    expect(file, b"354")
    s.sendall(HEAD)
    for _ in range(blocks):
        s.sendall(STUFFED)
    s.sendall(b".\r\n")
    reply = expect(file, b"250")
    s.close()
    return reply


def send_bdat(server, blocks):
    s, file = begin(server, len(HEAD) + blocks * len(BLOCK))
    s.sendall(b"BDAT %d\r\n" % len(HEAD) + HEAD)
    expect(file, b"250")
    for n in range(0, blocks, 64):
        part = min(64, blocks - n)
        s.sendall(b"BDAT %d%s\r\n" % (part * len(BLOCK), b" LAST" if n + part == blocks else b""))
        for _ in range(part):
            s.sendall(BLOCK)
        expect(file, b"250")
    s.close()


def fetch(server, commands):
    """Logs in, says the commands and returns connection and file behind the last one's +OK line."""
    s = socket.create_connection(("127.0.0.1", server.ports["pop3"]), 120)
    file = s.makefile("rb", buffering=1 << 20)
    expect(file, b"+OK")
    for command in (f"USER {USER}", f"PASS {PASSWORD}", *commands):
        s.sendall(command.encode() + b"\r\n")
        expect(file, b"+OK")
    return s, file


def retrieved_hash(server, number, blocks):
    """Hash of the content on the wire, and its length."""
    s, file = fetch(server, [f"RETR {number}"])
    trace = 0
    while (line := file.readline()) != HEAD[:16]:
        trace += 1
        assert trace < 20, line
    digest = hashlib.sha256(line)
    left = len(HEAD) - len(line) + blocks * len(STUFFED) + 3
    while left:
        chunk = file.read(min(left, 1 << 20))
        assert chunk, f"{left} octets are missing"
        digest.update(chunk)
        left -= len(chunk)
    s.sendall(b"QUIT\r\n")
    expect(file, b"+OK")
    s.close()
    return digest.hexdigest()


def test_a_gigabyte_goes_through_a_small_process(folder):
    blocks = MIB
    with Server(folder + "/data", "--max-message-size", "2047MiB") as server:
        expected = wire_hash(blocks)
        steps = []

        def step(name, action):
            began = time.monotonic()
            result = action()
            steps.append(f"{name} {MIB / (time.monotonic() - began):.0f} MiB/s, peak {peak_mib(server)} MiB")
            return result

        step("DATA", lambda: send_data(server, blocks))
        assert step("RETR", lambda: retrieved_hash(server, 1, blocks)) == expected
        step("BDAT", lambda: send_bdat(server, blocks))
        assert step("RETR", lambda: retrieved_hash(server, 2, blocks)) == expected
        print("        " + "; ".join(steps), flush=True)
        assert peak_mib(server) < LIMIT_MIB, steps
        s, file = fetch(server, ["TOP 2 3"])
        lines = []
        while (line := file.readline()) != b".\r\n":
            lines.append(line)
        assert lines[-5:-3] == [b"Subject: jumbo\r\n", b"\r\n"] and lines[-3:] == [BLOCK[77 * n:77 * n + 77] for n in range(3)], lines
        s.close()
        server.kill()
        server.start()
        assert retrieved_hash(server, 1, blocks) == expected
        pop = open_maildrop(server)
        pop.dele(1)
        pop.quit()
        bodies = folder + "/data/body"
        deadline = time.monotonic() + 30
        while len(os.listdir(bodies)) != 1:
            assert time.monotonic() < deadline, os.listdir(bodies)
            time.sleep(0.05)
        server.stop()
        result = run("log", "verify", "--data", folder + "/data", timeout=300)
        assert result.returncode == 0, result.stdout
        with open(os.path.join(bodies, os.listdir(bodies)[0]), "r+b") as f:
            f.truncate(12345)
        result = run("log", "verify", "--data", folder + "/data", timeout=300)
        assert result.returncode == 65 and "body file" in result.stdout, result.stdout
        server.start()
        pop = open_maildrop(server)
        try:
            pop.retr(1)
            raise AssertionError("a damaged message was given out")
        except Exception as e:
            assert b"[SYS/PERM]" in e.args[0], e
        pop.quit()


def test_a_jumbo_that_breaks_off_leaves_nothing_behind(folder):
    with Server(folder + "/data") as server:
        s, file = begin(server, 0)
        s.sendall(b"DATA\r\n")
        expect(file, b"354")
        s.sendall(HEAD + STUFFED * 20)
        bodies = folder + "/data/body"
        deadline = time.monotonic() + 30
        while not os.listdir(bodies):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        s.shutdown(socket.SHUT_RDWR)
        while os.listdir(bodies):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            smtp.sendmail("a@example.com", [USER], HEAD + b"after\r\n")
        pop = open_maildrop(server)
        assert pop.stat()[0] == 1
        pop.quit()
