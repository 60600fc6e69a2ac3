#!/usr/bin/env python3
"""What TLS costs: handshakes, bulk, messages and idle connections, each beside the same in the clear, on a real server.

  dotnet build -c Release FastMail.sln && bench/tls.py [SECONDS [--beside]]

--beside ends after what handshakes do to others; FASTMAIL names another program to compare with.
SECONDS (default 1) is the time of each measurement. Clients and server share the machine, so the server's own CPU time
(of /proc/PID/stat) says more than the rate; both are printed. The data is in /var/tmp where there is one, else in the
folder for temporary files (TMPDIR).
"""

import multiprocessing
import os
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../tests/clients"), os.path.join(HERE, "peers")]
from rounds import disk  # noqa: E402
from server import PASSWORD, USER, Server  # noqa: E402

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
CONNECTIONS = 20
ROUNDS = 9
PROCESSES = 2
TICK = os.sysconf("SC_CLK_TCK")
KILOBYTE = b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 13 + b".\r\n"
ENVELOPE = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"


def cpu(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024


def make_certificate(folder, name, *options):
    pem, key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    subprocess.run(["openssl", "req", "-x509", *options, "-nodes", "-keyout", key, "-out", pem, "-days", "9", "-subj",
                    "/CN=" + name, "-addext", "subjectAltName=DNS:" + name], check=True, capture_output=True)
    return pem, key


def context(version=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE  # certificates of this run
    if version:
        made.minimum_version = made.maximum_version = version
    return made


def read_to(s, end):
    received = b""
    while not received.endswith(end):
        chunk = s.recv(1 << 20)
        assert chunk, received
        received += chunk
    return received


def connect(port, tls=None, name=None, session=None):
    s = socket.create_connection(("127.0.0.1", port), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s if tls is None else tls.wrap_socket(s, server_hostname=name, session=session)


def smtp(server, tls):
    """A session behind EHLO, over STARTTLS or in the clear."""
    s = connect(server.ports["mx"])
    read_to(s, b"\r\n")
    s.sendall(b"EHLO c.test\r\n")
    read_to(s, b"250 ENHANCEDSTATUSCODES\r\n")
    if tls:
        s.sendall(b"STARTTLS\r\n")
        read_to(s, b"\r\n")
        s = tls.wrap_socket(s, server_hostname="p256.test")
        s.sendall(b"EHLO c.test\r\n")
        read_to(s, b"250 ENHANCEDSTATUSCODES\r\n")
    return s


def handshakes(server, name, version, resumed):
    """Rate and CPU of one connection after the other: accept, handshake, greeting, close."""
    tls = context(version)
    session = None
    if resumed:
        with connect(server.ports["submissions"], tls, name) as s:
            s.recv(100)  # TLS 1.3 sends its tickets behind the handshake
            session = s.session
    count, hits, began, used = 0, 0, time.monotonic(), cpu(server)
    while time.monotonic() - began < SECONDS:
        with connect(server.ports["submissions"], tls, name, session) as s:
            s.recv(100)
            hits += s.session_reused
            count += 1
    assert hits == (count if resumed else 0), (hits, count)
    print(f"handshake {name} {version.name} {'resumed' if resumed else 'full':8}"
          f"{count / (time.monotonic() - began):8.0f}/s {(cpu(server) - used) / count * 1e6:8.0f} us of server CPU")


def shake_hands(port, seconds, counted):
    tls, count, began = context(), 0, time.monotonic()
    while time.monotonic() - began < seconds:
        with connect(port, tls, "rsa2048.test") as s:
            s.recv(100)
        count += 1
    counted.put(count)


def beside_handshakes(server, processes):
    """Round trips of NOOP in the clear, in microseconds: median, 99th part of a hundred; and handshakes a second."""
    counted = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=shake_hands, args=(server.ports["submissions"], SECONDS, counted))
               for _ in range(processes)]
    s = smtp(server, None)
    for worker in workers:
        worker.start()
    trips, began = [], time.monotonic()
    while time.monotonic() - began < SECONDS:
        sent = time.monotonic()
        s.sendall(b"NOOP\r\n")
        read_to(s, b"\r\n")
        trips.append((time.monotonic() - sent) * 1e6)
        time.sleep(0.001)
    count = sum(counted.get() for _ in workers)
    for worker in workers:
        worker.join()
    s.close()
    return statistics.median(trips), statistics.quantiles(trips, n=100)[98], count / SECONDS


def messages_of(server, tls, seconds, connections, counted):
    sessions = [smtp(server, tls) for _ in range(connections)]
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        for octets, end in ((ENVELOPE, b"<CR><LF>.<CR><LF>\r\n"), (KILOBYTE, b"\r\n")):
            for s in sessions:
                s.sendall(octets)
            for s in sessions:
                read_to(s, end)
        count += connections
    counted.put(count)


def messages(server, tls):
    counted = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=messages_of, args=(server, tls, SECONDS, CONNECTIONS // PROCESSES, counted))
               for _ in range(PROCESSES)]
    used = cpu(server)
    for worker in workers:
        worker.start()
    count = sum(counted.get() for _ in workers)
    for worker in workers:
        worker.join()
    return count / SECONDS, (cpu(server) - used) / count * 1e6


def upload(server, tls):
    s = smtp(server, tls)
    content = (b"z" * 76 + b"\r\n") * (13_000_000 // 78)
    sent, began, used = 0, time.monotonic(), cpu(server)
    while time.monotonic() - began < SECONDS:
        s.sendall(ENVELOPE)
        read_to(s, b"<CR><LF>.<CR><LF>\r\n")
        s.sendall(content)
        s.sendall(b".\r\n")
        assert read_to(s, b"\r\n").startswith(b"250"), "refused"
        sent += len(content)
    return sent / (time.monotonic() - began) / 1e6, (cpu(server) - used) / sent * 1e12


def download(server, tls, number, octets):
    s = connect(server.ports["pop3s" if tls else "pop3"], tls, "p256.test" if tls else None)
    for said in (b"", b"USER " + USER.encode() + b"\r\n", b"PASS " + PASSWORD.encode() + b"\r\n"):
        s.sendall(said)
        read_to(s, b"\r\n")
    got, began, used = 0, time.monotonic(), cpu(server)
    buffer = bytearray(1 << 20)
    while time.monotonic() - began < SECONDS:
        s.sendall(b"RETR %d\r\n" % number)
        left = octets
        tail = b""
        while left > 0 or not tail.endswith(b"\r\n.\r\n"):
            n = s.recv_into(buffer)
            assert n, "closed"
            left -= n
            got += n
            tail = (tail + bytes(buffer[max(0, n - 5):n]))[-5:]
    seconds, used = time.monotonic() - began, cpu(server) - used
    s.close()
    return got / seconds / 1e6, used / got * 1e12


def idle(server, tls, count=400):
    before = resident(server)
    sessions = [connect(server.ports["pop3s" if tls else "pop3"], tls, "p256.test" if tls else None) for _ in range(count)]
    for s in sessions:
        read_to(s, b"\r\n")
    time.sleep(1)
    octets = (resident(server) - before) / count
    for s in sessions:
        s.close()
    time.sleep(1)
    return octets


def pair(label, work, tls):
    """Both in turn, so that what else the machine does falls on both; medians, and the median of the ratios."""
    rounds = [(work(None), work(tls)) for _ in range(ROUNDS + 1)][1:]  # the first one warms the server up
    plain, over = ([statistics.median(r[kind][i] for r in rounds) for i in (0, 1)] for kind in (0, 1))
    ratio = [statistics.median(r[1][i] / r[0][i] for r in rounds) for i in (0, 1)]
    print(f"{label}: plain {plain[0]:.0f} {plain[1]:.0f}, TLS {over[0]:.0f} {over[1]:.0f}, ratio {ratio[0]:.2f} {ratio[1]:.2f}",
          flush=True)


def main():
    with tempfile.TemporaryDirectory(prefix="fastmail-tls-", dir=disk()) as folder:
        measure(folder)


def measure(folder):
    p256 = make_certificate(folder, "p256.test", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    rsa = make_certificate(folder, "rsa2048.test", "-newkey", "rsa:2048")
    pairs = [word for pem, key in (p256, rsa) for word in ("--tls-cert", pem, "--tls-key", key)]
    tls = context()
    with Server(folder + "/data", "--set", "limits.idle_commands=1000000", *pairs) as server:
        for processes in (0, 1, 8):
            rounds = [beside_handshakes(server, processes) for _ in range(ROUNDS)]
            trip, late, rate = (statistics.median(r[i] for r in rounds) for i in range(3))
            print(f"NOOP beside {processes} clients that shake hands: median {trip:.0f} us, p99 {late:.0f} us, "
                  f"{rate:.0f} handshakes/s", flush=True)
        if "--beside" in sys.argv:
            return
        for _ in range(2):  # the first one warms the server up
            print("idle connection, octets resident: " + ", ".join(
                f"{kind} {idle(server, channel):.0f}" for kind, channel in (("plain", None), ("TLS", tls))))
        for name in ("rsa2048.test", "p256.test"):
            for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
                for resumed in (False, True):
                    handshakes(server, name, version, resumed)
        pair(f"1 KB messages, {CONNECTIONS} connections, /s and us of server CPU each", lambda c: messages(server, c), tls)
    with Server(folder + "/large", *pairs) as server:
        pair("DATA 13 MB, MB/s and us of server CPU a MB", lambda c: upload(server, c), tls)
        pair("RETR 13 MB, MB/s and us of server CPU a MB", lambda c: download(server, c, 1, 12_900_000), tls)


if __name__ == "__main__":
    main()
