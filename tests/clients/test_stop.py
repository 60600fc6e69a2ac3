"""SIGTERM while mail flows: what was under way is answered, everybody else is told, and the ledger finds the rest."""

import os
import random
import signal
import socket
import threading
import time

from ledger import Ledger, start_senders
from server import Server, dialog

ROUNDS = int(os.environ.get("STOP_ROUNDS", "5"))
SEED = int(os.environ.get("STOP_SEED", "421"))
SENDERS = 16
SIZES = (0, 100, 1000, 10_000, 300_000)
DRAIN_SECONDS = 30


def test_a_graceful_stop_under_load_loses_and_doubles_nothing(folder):
    chance = random.Random(SEED)
    print(f"        SIGTERM: {ROUNDS} rounds, seed {SEED}", flush=True)
    server = Server(folder + "/data")
    ledger = Ledger()
    slowest = 0.0
    try:
        for cycle in range(ROUNDS):
            senders = start_senders(server, ledger, SENDERS, SEED, cycle, SIZES)
            time.sleep(chance.uniform(0.2, 1.0))
            began = time.monotonic()
            assert server.stop(DRAIN_SECONDS + 5) == 0, server.log()[-2000:]
            slowest = max(slowest, time.monotonic() - began)
            for sender in senders:
                sender.join()
            server.start()
            assert ledger.acked, "no load"
            acked = len(ledger.acked)
            stored = ledger.judge(server, delete=True)
            assert stored == acked, f"{stored} stored, {acked} answered: a second attempt would double the rest"
        others = [reply for reply in ledger.refused if reply[0] != 421]
        assert not others, others
        assert slowest < DRAIN_SECONDS, f"{slowest:.1f} s"
        print(f"        slowest stop {slowest:.2f} s, {len(ledger.refused)} senders heard 421", flush=True)
    finally:
        if server.process.poll() is None:
            server.kill()


def test_content_under_way_is_told_421_and_what_was_ended_is_answered(folder):
    envelope = b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"
    with Server(folder + "/data") as server:
        idle = socket.create_connection(("127.0.0.1", server.ports["mx"]), 30)
        half = socket.create_connection(("127.0.0.1", server.ports["mx"]), 30)
        half.sendall(envelope)
        received = b""
        while b"354" not in received:
            received += half.recv(4096)
        half.sendall(b"half a mess")
        assert idle.recv(4096).startswith(b"220")
        server.process.send_signal(signal.SIGTERM)
        for client in (idle, half):
            rest = b""
            while chunk := client.recv(4096):
                rest += chunk
            assert rest.startswith(b"421 4.3.2"), rest
            client.close()
        assert server.process.wait(DRAIN_SECONDS + 5) == 0


def anonymous_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("Anonymous:"))


def test_clients_that_never_read_cost_no_memory(folder):
    """Commands without end whose replies nobody reads: the server stops reading, and holds no more than one turn."""
    clients, limit_kib = 200, 64
    with Server(folder + "/data", "--set", "limits.idle_commands=100000") as server:
        dialog(server.ports["mx"], b"EHLO c.test\r\nNOOP\r\nQUIT\r\n")
        warm = [socket.create_connection(("127.0.0.1", server.ports["mx"]), 30) for _ in range(clients)]
        for client in warm:
            client.recv(4096)
        before = anonymous_kib(server.process.pid)
        threads = [threading.Thread(target=flood, args=(client,)) for client in warm]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        each = (anonymous_kib(server.process.pid) - before) / clients
        print(f"        {clients} clients that never read: {each:.1f} KiB each", flush=True)
        assert each <= limit_kib, f"{each:.1f} KiB a client"
        assert dialog(server.ports["mx"], b"NOOP\r\nQUIT\r\n").endswith(b"221 2.0.0 Bye\r\n")
        for client in warm:
            client.close()


def flood(client):
    """Sends EHLO until the server takes no more for a second."""
    client.settimeout(1)
    commands = b"EHLO c.test\r\n" * 1000
    try:
        while True:
            client.sendall(commands)
    except OSError:
        return
