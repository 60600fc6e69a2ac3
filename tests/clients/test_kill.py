"""kill -9 at random moments under load, judged by a ledger outside the server."""

import os
import random
import time

from ledger import Ledger, start_senders
from server import Server

CYCLES = int(os.environ.get("KILL_CYCLES", "50"))
SEED = int(os.environ.get("KILL_SEED", "1939"))
SENDERS = 8
SIZES = (0, 100, 1000, 1000, 1000, 10_000, 300_000)
READY_SECONDS = 2.0


def test_kill_9_under_load_loses_nothing_acknowledged(folder):
    chance = random.Random(SEED)
    print(f"        kill -9: {CYCLES} cycles, seed {SEED}", flush=True)
    server = Server(folder + "/data")
    ledger = Ledger()
    slowest, acked = 0.0, 0
    try:
        for cycle in range(CYCLES):
            senders = start_senders(server, ledger, SENDERS, SEED, cycle, SIZES)
            time.sleep(chance.uniform(0.05, 0.8))
            server.kill()
            for sender in senders:
                sender.join()
            server.start()
            slowest = max(slowest, server.ready_seconds)
            if cycle % 5 == 4 or cycle == CYCLES - 1:
                acked += len(ledger.acked)
                ledger.judge(server, delete=cycle % 10 == 9)
        assert not ledger.refused, ledger.refused
        assert slowest < READY_SECONDS, f"ready after {slowest:.2f} s"
        print(f"        {acked} acknowledged, none lost; slowest start {slowest:.2f} s", flush=True)
    finally:
        if server.process.poll() is None:
            server.kill()
