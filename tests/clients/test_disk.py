"""A full disk is a reply, not an end."""

import errno
import os
import smtplib
import subprocess
import time

from loopdisk import LoopDisk
from maildrop import content_of, open_maildrop, retrieve
from server import USER, Server, run
from skip import Skip

MOUNT_MIB = 64
KIB = 1024
BODY = b"Subject: filler\r\n\r\n" + (b"z" * 76 + b"\r\n") * 1300


def send(server):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
        smtp.ehlo()
        code, text = smtp.mail("a@example.com")
        if code == 250:
            code, text = smtp.rcpt(USER)
            assert code == 250, (code, text)
            code, text = smtp.data(BODY)
        return code, text


def test_a_full_disk_is_answered_452_and_service_goes_on_when_space_returns(folder):
    if os.geteuid() != 0:
        raise Skip("mounting a tmpfs needs root")
    mount = folder + "/mnt"
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MOUNT_MIB}m", "tmpfs", mount], check=True)
    try:
        with open(mount + "/filler", "wb") as filler:
            filler.write(b"\0" * (24 << 20))
        with Server(mount + "/data", "--segment-size", "4MiB", "--max-message-size", "1MiB") as server:
            accepted = 0
            while (reply := send(server))[0] == 250:
                accepted += 1
                assert accepted < 1000, "the disk never filled up"
            assert reply[0] == 452 and reply[1].startswith(b"4.3.1"), reply
            assert accepted > 50, accepted
            pop = open_maildrop(server)
            assert pop.stat()[0] == accepted
            assert content_of(retrieve(pop, accepted)[0]) == BODY
            pop.dele(1)
            pop.quit()  # removal works from the reserve
            assert send(server)[0] == 452
            os.remove(mount + "/filler")
            began = time.monotonic()
            while (reply := send(server))[0] != 250:
                assert time.monotonic() - began < 5, reply
                time.sleep(0.05)
            print(f"        {accepted} accepted; accepts again {time.monotonic() - began:.2f} s after space returned", flush=True)
            for _ in range(20):
                assert send(server)[0] == 250
            server.kill()
            server.start()
            pop = open_maildrop(server)
            assert pop.stat()[0] == accepted - 1 + 21, (pop.stat(), accepted)
            for number in range(1, pop.stat()[0] + 1):
                assert content_of(retrieve(pop, number)[0]) == BODY
            pop.quit()
    finally:
        subprocess.run(["umount", mount], check=True)


def free_bytes(path):
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def test_a_full_disk_is_emptied_over_pop3_and_takes_mail_again_within_a_second(folder):
    if os.geteuid() != 0:
        raise Skip("mounting a tmpfs needs root")
    mount = folder + "/mnt"
    os.mkdir(mount)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", mount], check=True)
    try:
        with Server(
                mount + "/data", "--segment-size", "2MiB", "--max-message-size", "1MiB",
                "--set", "store.reserve=1MiB", "--set", "store.min_free=3MiB") as server:
            for cycle in range(3):
                accepted = 0
                while (reply := send(server))[0] == 250:
                    accepted += 1
                    assert accepted < 1000, "the disk never filled up"
                assert reply[0] == 452 and reply[1].startswith(b"4.3.1"), reply
                assert accepted > 200, accepted
                full = free_bytes(mount)
                assert 2 << 20 < full < 8 << 20, full
                if cycle == 1:
                    server.kill()  # and it starts on a full disk
                    server.start()
                    assert send(server)[0] == 452
                pop = open_maildrop(server)
                assert pop.stat()[0] == accepted, (pop.stat(), accepted)
                for number in range(1, accepted + 1):
                    pop.dele(number)
                pop.quit()
                began = time.monotonic()
                while (reply := send(server))[0] != 250:
                    assert time.monotonic() - began < 10, reply
                    time.sleep(0.02)
                took = time.monotonic() - began
                pop = open_maildrop(server)
                assert pop.stat()[0] == 1, pop.stat()
                assert content_of(retrieve(pop, 1)[0]) == BODY
                pop.dele(1)
                pop.quit()
                print(
                    f"        {accepted} accepted; {full // KIB} KiB free when full, {free_bytes(mount) // KIB} KiB"
                    f" when emptied; accepts again after {took:.2f} s", flush=True)
                assert free_bytes(mount) > 20 << 20, free_bytes(mount)
    finally:
        subprocess.run(["umount", mount], check=True)


def fill(mount):
    """To the last block."""
    with open(mount + "/filler", "ab", buffering=0) as filler:
        for size in (1 << 20, 4 * KIB, 1):
            try:
                while True:
                    filler.write(b"\0" * size)
            except OSError as e:
                assert e.errno == errno.ENOSPC, e
    assert free_bytes(mount) == 0, free_bytes(mount)


def test_a_server_that_was_stopped_in_order_starts_without_a_free_block_and_can_be_emptied(folder):
    mount = folder + "/mnt"
    os.mkdir(mount)
    # With smaller blocks what SQLite maps would have holes that a full disk cannot fill.
    with LoopDisk(mount, 64, block=4 * KIB), Server(
            mount + "/data", "--segment-size", "2MiB", "--max-message-size", "1MiB",
            "--set", "store.reserve=1MiB", "--set", "store.min_free=3MiB") as server:
        accepted = 0
        while send(server)[0] == 250:
            accepted += 1
            assert accepted < 1000, "the disk never filled up"
        fill(mount)
        for stop in (server.stop, server.kill):
            stop()
            os.remove(mount + "/filler")
            changed = run("account", "may-send-as", USER, "*", "--data", mount + "/data")
            assert changed.returncode == 0, changed  # the next start cannot note that it has seen it
            fill(mount)
            listed = run("account", "list", "--data", mount + "/data")
            assert listed.returncode == 0 and USER in listed.stdout, listed
            server.start()
            assert send(server)[0] == 452
        pop = open_maildrop(server)
        assert pop.stat()[0] == accepted, (pop.stat(), accepted)
        for number in range(1, accepted + 1):
            pop.dele(number)
        pop.quit()
        began = time.monotonic()
        while (reply := send(server))[0] != 250:
            assert time.monotonic() - began < 10, reply
            time.sleep(0.02)
        pop = open_maildrop(server)
        assert pop.stat()[0] == 1, pop.stat()
        pop.quit()
