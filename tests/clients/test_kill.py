"""kill -9 at random moments under load, judged by a ledger outside the server."""

import os
import random
import time

from compactor import start_compactor
from ledger import Ledger, start_senders
from server import RECLAIMING, Server

CYCLES = int(os.environ.get("KILL_CYCLES", "50"))
SEED = int(os.environ.get("KILL_SEED", "1939"))
SENDERS = 8
SIZES = (0, 100, 1000, 1000, 1000, 10_000, 300_000)
READY_SECONDS = 2.0


def kill_cycles(folder, cycles, options=(), after_kill=None):
    """With an after_kill the log is compacted all the time, and part of it removed after each start."""
    chance = random.Random(SEED)
    print(f"        kill -9: {cycles} cycles, seed {SEED}", flush=True)
    server = Server(folder + "/data", *options)
    ledger = Ledger()
    slowest, acked = 0.0, 0
    try:
        for cycle in range(cycles):
            senders = start_senders(server, ledger, SENDERS, SEED, cycle, SIZES)
            if after_kill is not None:
                senders.append(start_compactor(server))
            time.sleep(chance.uniform(0.05, 0.8))
            server.kill()
            for sender in senders:
                sender.join()
            if after_kill is not None:
                after_kill(server)
            server.start()
            slowest = max(slowest, server.ready_seconds)
            if cycle % 5 == 4 or cycle == cycles - 1:
                acked += len(ledger.acked)
                ledger.judge(server, delete=cycle % 10 == 9)
            if after_kill is not None:
                ledger.thin(server)
        assert not ledger.refused, ledger.refused
        assert slowest < READY_SECONDS, f"ready after {slowest:.2f} s"
        print(f"        {acked} acknowledged, none lost; slowest start {slowest:.2f} s", flush=True)
    finally:
        if server.process.poll() is None:
            server.kill()


def test_kill_9_under_load_loses_nothing_acknowledged(folder):
    kill_cycles(folder, CYCLES)


def test_kill_9_in_checkpoints_and_compaction_loses_nothing_and_brings_nothing_back(folder):
    seen = {"cold segments": 0, "a copy under way": 0, "a checkpoint under way": 0}

    def look(server):
        log = os.listdir(server.data + "/log")
        saved = [names for path, _, names in os.walk(server.data + "/ckpt") if path != server.data + "/ckpt"]
        seen["cold segments"] += any(name.startswith("1-") and name.endswith(".seg") for name in log)
        seen["a copy under way"] += "compact.tmp" in log
        seen["a checkpoint under way"] += any("MANIFEST" not in names for names in saved)

    kill_cycles(folder, max(CYCLES // 2, 10), RECLAIMING, look)
    print("        found after a kill: " + ", ".join(f"{what} {n} times" for what, n in seen.items()), flush=True)
    assert seen["cold segments"] > 0, "nothing was ever compacted: this showed nothing"
