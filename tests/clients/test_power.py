"""Power loss at random moments under load, judged by a ledger that is not on the lost disk.

kill -9 proves nothing about flushing, because the page cache survives it. Here the file system itself stops at once,
its unwritten pages are dropped, and the journal is replayed by the next mount.
"""

import os
import random
import subprocess
import time

from compactor import start_compactor
from ledger import Ledger, Lost, start_senders
from loopdisk import LoopDisk
from server import RECLAIMING, NotReady, Server, run
from skip import needs

CYCLES = int(os.environ.get("POWER_CYCLES", "100"))
SEED = int(os.environ.get("POWER_SEED", "821"))
SENDERS = 4
SIZES = (0, 100, 1000, 1000, 1000, 10_000, 100_000)
SEGMENT = ("--segment-size", "4MiB")  # small, so that the cuts also hit the change of segments
DISK_MEBIBYTES = 1024
CYCLES_PER_DISK = 10  # an empty disk now and then: the first minute of a store has cuts of its own
CONTROL_CYCLES = 20

# A server that acknowledges before the flush. It is only ever made here, as a library in front of the real libc. The
# runtime asks for "libc.so" first and looks its calls up in that handle, where LD_PRELOAD has no say; a libc.so in
# LD_LIBRARY_PATH that needs the real one answers for all calls and takes this one over. Flushes of anything but
# segments stay real: the descriptor -1 of the start-up self-test, the accounts, and the zeros of a spare.
NO_FLUSH = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (length > 4 && memcmp(path + length - 4, ".seg", 4) == 0) return 0;
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
"""


def lose_power(disk, server, senders):
    disk.cut_power()
    server.kill()
    for sender in senders:
        sender.join()
    disk.unmount()
    disk.mount_again()


def begin_anew(disk, server, options=SEGMENT):
    """The server on an empty disk."""
    if server is not None:
        server.stop()
    disk.make_anew()
    return Server(disk.mount, *options)


def test_power_loss_under_load_loses_nothing_acknowledged(folder):
    power_cycles(folder, CYCLES, SEGMENT, compacts=False)


def test_power_loss_in_checkpoints_and_compaction_loses_nothing_and_brings_nothing_back(folder):
    power_cycles(folder, max(CYCLES // 2, CYCLES_PER_DISK), RECLAIMING, compacts=True)


def power_cycles(folder, cycles, options, compacts):
    chance = random.Random(SEED)
    print(f"        power loss: {cycles} cycles, seed {SEED}", flush=True)
    os.mkdir(folder + "/data")
    ledger, server, acked, starts_cut, slowest, compacted = Ledger(), None, 0, 0, 0.0, 0
    with LoopDisk(folder + "/data", DISK_MEBIBYTES) as disk:
        try:
            for cycle in range(cycles):
                if cycle % CYCLES_PER_DISK == 0:
                    server = begin_anew(disk, server, options)
                    ledger.clear()
                senders = start_senders(server, ledger, SENDERS, SEED, cycle, SIZES)
                if compacts:
                    senders.append(start_compactor(server))
                time.sleep(chance.uniform(0.02, 0.4))
                lose_power(disk, server, senders)
                if cycle % 4 == 3:
                    # Recovery rewrites the unproven tail: losing power during that must lose nothing either.
                    server.launch()
                    time.sleep(chance.uniform(0.05, 0.3))
                    lose_power(disk, server, [])
                    starts_cut += 1
                if cycle % 5 == 4:
                    # What a power loss leaves is never damage, and whoever looks before the next start can tell.
                    verdict = run("log", "verify", "--data", server.data)
                    assert verdict.returncode == 0, verdict
                server.start()
                slowest = max(slowest, server.ready_seconds)
                is_last = cycle == cycles - 1 or (cycle + 1) % CYCLES_PER_DISK == 0
                if cycle % 5 == 4 or is_last:
                    acked += len(ledger.acked)
                    ledger.judge(server, delete=not is_last)
                compacted += any(name.startswith("1-") for name in os.listdir(server.data + "/log"))
                if compacts and not is_last:
                    ledger.thin(server)
            server.stop()
        finally:
            if server is not None and server.process.poll() is None:
                server.kill()
    # After the cut only: 451 for a group that failed, 452 when no segment could be prepared, 421 for farewell.
    odd = [reply for reply in ledger.refused if reply[0] not in (421, 451, 452)]
    assert not odd, odd
    assert acked > cycles, f"only {acked} messages were acknowledged: this showed nothing"
    assert compacted > 0 or not compacts, "nothing was ever compacted: this showed nothing"
    print(f"        {acked} acknowledged, none lost; {starts_cut} starts cut too; slowest start {slowest:.2f} s; cold "
          f"segments in {compacted} cycles", flush=True)


def test_a_server_that_acknowledges_before_the_flush_is_caught_by_power_loss(folder):
    needs("cc")
    with open(folder + "/noflush.c", "w", encoding="ascii") as source:
        source.write(NO_FLUSH)
    os.mkdir(folder + "/lib")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", folder + "/lib/libc.so", folder + "/noflush.c"], check=True)
    chance = random.Random(SEED)
    os.mkdir(folder + "/data")
    with LoopDisk(folder + "/data", DISK_MEBIBYTES) as disk:
        server = begin_anew(disk, None)
        server.stop()
        server.library_path = folder + "/lib"
        try:
            for cycle in range(CONTROL_CYCLES):
                ledger = Ledger()
                server.start()
                senders = start_senders(server, ledger, SENDERS, SEED, cycle, SIZES)
                time.sleep(chance.uniform(0.02, 0.4))
                lose_power(disk, server, senders)
                try:
                    server.start()
                    ledger.judge(server, delete=True)
                except (Lost, NotReady) as caught:
                    if isinstance(caught, NotReady) and caught.code != 65:
                        raise  # not the damaged log that this is about
                    print(f"        caught in cycle {cycle + 1}: {str(caught)[:100]}", flush=True)
                    return
                server.stop()
        finally:
            if server.process.poll() is None:
                server.kill()
    raise AssertionError(f"{CONTROL_CYCLES} cycles found nothing wrong with a server that does not flush")
