"""Peers that vanish without a word: neither FIN nor reset, as when a cable is pulled or a notebook is closed."""

import contextlib
import ctypes
import os
import poplib
import re
import socket
import ssl
import subprocess
import time

from server import PASSWORD, USER, Server
from skip import Skip, needs

HERE, THERE = "10.231.7.1", "10.231.7.2"
PEER_SECONDS = 6
CLONE_NEWNET = 0x40000000


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


class FarAway:
    """A network namespace at the other end of a cable; its sockets are made here and live there."""

    def __init__(self):
        needs("ip")
        if os.geteuid() != 0:
            raise Skip("needs root for a network namespace")
        self.name = f"fastmail-{os.getpid()}"
        self.cable = f"fm{os.getpid()}"
        try:
            ip("netns", "add", self.name)
        except subprocess.CalledProcessError as e:
            raise Skip(f"no network namespace: {e.stderr.decode().strip()}") from e
        try:
            ip("link", "add", self.cable, "type", "veth", "peer", "name", "far", "netns", self.name)
            ip("addr", "add", HERE + "/30", "dev", self.cable)
            ip("link", "set", self.cable, "up")
            ip("-n", self.name, "addr", "add", THERE + "/30", "dev", "far")
            self.plug(True)
        except Exception:
            self.remove()
            raise
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.far = os.open(f"/run/netns/{self.name}", os.O_RDONLY)

    def plug(self, isIn):
        ip("-n", self.name, "link", "set", "far", "up" if isIn else "down")

    @contextlib.contextmanager
    def there(self):
        """What is connected inside the with block comes from far away."""
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.setns(self.far, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(self.own, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def remove(self):
        subprocess.run(["ip", "link", "del", self.cable], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.own)
        os.close(self.far)
        self.remove()


def held(*ports):
    """Connections from far away that the server has not closed."""
    there = socket.inet_aton(THERE)[::-1].hex().upper()
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f][1:]
    return sum(int(row[1][-4:], 16) in ports and row[2].startswith(there) and row[9] != "0" for row in rows)


def open_pop(port):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # self-signed
    pop = poplib.POP3_SSL(HERE, port, timeout=30, context=context)
    pop.user(USER)
    return pop, pop.pass_(PASSWORD)


def test_silent_peers_give_their_places_and_their_maildrop_back_within_the_peer_timeout(folder):
    """An idle client, one in the midst of content, one that has not taken all it asked for, one that has the maildrop
    open: the link goes down, and after limits.peer_timeout none of them counts any more."""
    with FarAway() as far, Server(
            folder + "/data", "--mx", f"{HERE}:0", "--pop3s", f"{HERE}:0",
            "--set", f"limits.peer_timeout={PEER_SECONDS}s", "--set", "limits.connections_per_address=4",
            "--set", "limits.data_grace=60s", "--set", "pop3.lock_wait=0", exempt="192.0.2.1") as server:
        ports = {role: int(re.search(rf"\b{role}=\S*{re.escape(HERE)}:(\d+)", server.ready_line)[1])
                 for role in ("mx", "pop3s")}
        with far.there():
            idle, content, deaf = (socket.create_connection((HERE, ports["mx"]), 30) for _ in range(3))
            pop, welcome = open_pop(ports["pop3s"])
            one_too_many = socket.create_connection((HERE, ports["mx"]), 30)
        assert welcome.startswith(b"+OK"), welcome
        assert one_too_many.recv(200).startswith(b"421 4.7.0"), "the limit is not what this test thinks"
        for s in (idle, content, deaf):
            assert s.recv(200).startswith(b"220")
        content.sendall(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<" + USER.encode() + b">\r\nDATA\r\nhalf a li")
        said = b""
        while b"354" not in said:
            said += content.recv(4096)
        try:
            open_pop(ports["pop3s"])
            raise AssertionError("the maildrop is open twice")
        except poplib.error_proto as e:
            assert b"[IN-USE]" in e.args[0], e
        deaf.sendall(b"NOOP\r\n" * 10)
        far.plug(False)
        began = time.monotonic()
        assert held(*ports.values()) == 4
        while held(*ports.values()) > 0:
            assert time.monotonic() - began < 5 * PEER_SECONDS, "they still count"
            time.sleep(0.1)
        took = time.monotonic() - began
        far.plug(True)
        with far.there():
            again = [socket.create_connection((HERE, ports["mx"]), 30) for _ in range(3)]
            greetings = [s.recv(200) for s in again]
            assert all(g.startswith(b"220") for g in greetings), greetings
            pop, welcome = open_pop(ports["pop3s"])
        assert welcome.startswith(b"+OK"), welcome
        assert took < PEER_SECONDS + 2, f"{took:.1f} s"
        print(f"        all gone {took:.1f} s after the link, peer_timeout {PEER_SECONDS} s", flush=True)
        pop.quit()
        for s in (idle, content, deaf, one_too_many, *again):
            s.close()
