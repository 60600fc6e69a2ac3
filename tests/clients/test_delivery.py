"""The relay under kill -9 and with next hops that are odd: every message that was accepted comes out."""

import os
import poplib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

from server import PASSWORD, USER, Server

CYCLES = int(os.environ.get("RELAY_KILL_CYCLES", "50"))
SEED = int(os.environ.get("RELAY_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 30)
UNFLUSHED = 100

SINK = r'''
import asyncio, os, sys
ledger = open(sys.argv[1], "ab", buffering=0)

connections = 0

def keep(content):
    subject = content.split(b"Subject: ", 1)[1].split(b"\r\n", 1)[0]
    ledger.write(subject + b" " + str(len(content.split(b"\r\n\r\n", 1)[1])).encode() + b"\n")

async def serve(reader, writer):
    global connections
    connections += 1
    chunking = b"250-CHUNKING\r\n" if connections % 2 else b""
    chunks = b""
    try:
        writer.write(b"220 sink.test ESMTP\r\n")
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink.test\r\n250-PIPELINING\r\n" + chunking + b"250 8BITMIME\r\n")
            elif verb == b"DATA":
                writer.write(b"354 go on\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                keep(content)
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"BDAT":
                words = line.split()
                chunks += await reader.readexactly(int(words[1]))
                if words[-1].upper() == b"LAST":
                    keep(chunks + b".\r\n")
                    chunks = b""
                writer.write(b"250 2.0.0 taken\r\n")
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 2.0.0 ok\r\n")
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, IndexError):
        pass
    finally:
        writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20, backlog=200)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
'''


class Sink:
    """A next hop in another process, which writes down what it has taken before it says so."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "sink.ledger")
        self.process = subprocess.Popen([sys.executable, "-c", SINK, self.path], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def taken(self):
        with open(self.path, "rb") as f:
            return [line.decode().split() for line in f.read().splitlines()]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def relay(folder, routes, *options):
    return Server(os.path.join(folder, "data"), "--relay-from", "127.0.0.0/8", "--retry-min", "1s",
                  "--set", f"relay.unflushed={UNFLUSHED}", "--set", "store.segment_size=16MiB",
                  *[x for r in routes for x in ("--route", r)], *options)


def submit(port, name, to, body_octets, timeout=20):
    """One message; True when it was accepted, False when it was not or nobody knows."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        f = s.makefile("rb")
        f.readline()
        for command in (b"EHLO c.test", b"MAIL FROM:<a@elsewhere.test>", f"RCPT TO:<{to}>".encode(), b"DATA"):
            s.sendall(command + b"\r\n")
            while (line := f.readline())[3:4] == b"-":
                pass
            if line[:1] not in (b"2", b"3"):
                return False
        body = (b"x" * 70 + b"\r\n") * (body_octets // 72)
        s.sendall(f"Subject: {name}\r\n\r\n".encode() + body + b".\r\n")
        return f.readline()[:3] == b"250"


class Load(threading.Thread):
    """Sends one message after the other, and keeps the ledger of those that were accepted."""

    def __init__(self, server, prefix, seed):
        super().__init__(daemon=True)
        self.server = server
        self.prefix = prefix
        self.random = random.Random(seed)
        self.accepted = []
        self.stopping = False

    def run(self):
        number = 0
        while not self.stopping:
            number += 1
            name = f"{self.prefix}-{number}"
            try:
                if submit(self.server.ports["mx"], name, "b@relay.test", self.random.choice((200, 2000, 20000))):
                    self.accepted.append(name)
            except OSError:
                time.sleep(0.02)  # killed just now: the next life is waited for


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what()
        time.sleep(0.1)  # another process gives no signal


def test_relay_survives_kill_under_load(folder):
    """kill -9 again and again: nothing accepted is lost, and no more arrives twice than was under way at the kills."""
    print(f"         RELAY_KILL_SEED={SEED} RELAY_KILL_CYCLES={CYCLES}")
    chance = random.Random(SEED)
    with Sink(folder) as sink, relay(folder, [f"relay.test=127.0.0.1:{sink.port} tls=none"]) as server:
        loads = [Load(server, f"m{i}", SEED + i) for i in range(6)]
        for load in loads:
            load.start()
        for _ in range(CYCLES):
            time.sleep(chance.uniform(0.1, 1.0))  # the moment of the kill is the point
            server.kill()
            server.start()
        for load in loads:
            load.stopping = True
        for load in loads:
            load.join(30)
        accepted = {name for load in loads for name in load.accepted}
        assert len(accepted) > CYCLES, "the load did nothing"

        def missing():
            return accepted - {name for name, _ in sink.taken()}

        wait_until(lambda: not missing(), 60, lambda: f"{len(missing())} of {len(accepted)} accepted messages are missing: "
                   + " ".join(sorted(missing())[:10]))
        assert server.stop() == 0
        names = [name for name, _ in sink.taken()]
        twice = len(names) - len(set(names))
        assert twice <= CYCLES * (UNFLUSHED + 20), f"{twice} messages came twice in {CYCLES} kills"
        # Whole, each of them: the sink counts what stands behind the header.
        assert {int(octets) for _, octets in sink.taken()} <= {2 * 72 + 3, 27 * 72 + 3, 277 * 72 + 3}, "cut content"
        print(f"         {len(accepted)} accepted, {twice} twice")


def test_a_next_hop_that_is_stopped_holds_up_nobody_else(folder):
    """SIGSTOP of one next hop: mail for the other flows; afterwards its own arrives too."""
    with Sink(os.path.join(folder)) as good:
        os.makedirs(os.path.join(folder, "other"))
        with Sink(os.path.join(folder, "other")) as stopped:
            routes = [f"relay.test=127.0.0.1:{good.port} tls=none", f"stopped.test=127.0.0.1:{stopped.port} tls=none"]
            with relay(folder, routes) as server:
                stopped.process.send_signal(signal.SIGSTOP)
                try:
                    for i in range(40):
                        assert submit(server.ports["mx"], f"g{i}", "b@relay.test", 500)
                        assert submit(server.ports["mx"], f"s{i}", "b@stopped.test", 500)
                    wait_until(lambda: len(good.taken()) == 40, 20, lambda: f"only {len(good.taken())} came")
                    assert not stopped.taken(), "it was not stopped"
                finally:
                    stopped.process.send_signal(signal.SIGCONT)
                wait_until(lambda: len({n for n, _ in stopped.taken()}) == 40, 40, lambda: f"only {len(stopped.taken())} came")
                assert server.stop() == 0


def test_two_servers_that_send_mail_to_each_other_stop(folder):
    """A mail loop ends after 100 hops at most with one notification, and that one makes no further."""
    folders = [os.path.join(folder, name) for name in ("a", "b")]
    for name in folders:
        os.makedirs(name)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    with relay(folders[0], [f"loop.test=127.0.0.1:{port} tls=none"]) as first:
        with relay(folders[1], [f"*=127.0.0.1:{first.ports['mx']} tls=none"], "--mx", f"127.0.0.1:{port}"):
            with socket.create_connection(("127.0.0.1", first.ports["mx"]), 20) as s:
                f = s.makefile("rb")
                f.readline()
                for command in (b"EHLO c.test", b"MAIL FROM:<u@local.test>", b"RCPT TO:<x@loop.test>", b"DATA"):
                    s.sendall(command + b"\r\n")
                    while f.readline()[3:4] == b"-":
                        pass
                s.sendall(b"Subject: round\r\n\r\nand round\r\n.\r\n")
                assert f.readline()[:3] == b"250"

            def notices():
                box = poplib.POP3("127.0.0.1", first.ports["pop3"], timeout=20)
                box.user(USER)
                box.pass_(PASSWORD)
                lines = [b"\n".join(box.retr(i + 1)[1]) for i in range(box.stat()[0])]
                box.quit()
                return lines

            wait_until(lambda: len(notices()) > 0, 90, lambda: "no notification of the loop: " + first.log()[-500:])
            time.sleep(2)  # nothing more is to come
            assert len(notices()) == 1, len(notices())
            assert b"5.4.6" in notices()[0], notices()[0].decode()
