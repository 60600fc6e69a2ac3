"""The scrubber of a running server: every flip in sealed segments and body files is found and told once."""

import glob
import json
import os
import poplib
import random
import re
import smtplib
import time

from server import PASSWORD, USER, Server, run

FOUND = re.compile(r"damage found by scrubbing: (\S+) offset (\d+), position 0x([0-9a-f]+): (.*)")


def status(server):
    result = run("log", "stat", "--json", "--data", server.data)
    return json.loads(result.stdout)["server"]["scrub"]


def wait_for_pass(server):
    """Until a pass has ended that began after this call."""
    passes, deadline = status(server)["passes"], time.monotonic() + 60
    while status(server)["passes"] < passes + 2:
        assert time.monotonic() < deadline, (status(server), server.log()[-2000:])
        time.sleep(0.1)


def place_of(data, marker):
    """The segment or body file with these bytes and where they are."""
    for path in glob.glob(data + "/log/*.seg") + glob.glob(data + "/body/*.body"):
        with open(path, "rb") as f:
            at = f.read().find(marker)
        if at >= 0:
            return path, at
    raise AssertionError(marker)


def flip(path, offset):
    with open(path, "r+b") as f:
        f.seek(offset)
        octet = f.read(1)[0]
        f.seek(offset)
        f.write(bytes([octet ^ 1 << random.randrange(8)]))


def test_every_flip_in_stored_mail_is_found_and_nothing_else_is_told(folder):
    sizes = [300, 3000, 40_000, 120_000]
    jumbo = 500_000
    with Server(folder + "/data", "--segment-size", "1MiB", "--set", "store.jumbo_size=256KiB",
                "--set", "scrub.rate=1GiB", "--set", "scrub.interval=1s") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            for number in range(60):
                size = jumbo if number % 20 == 19 else sizes[number % 4]
                body = b"Subject: %d\r\n\r\nmarker-%04d-" % (number, number) + (b"%d" % (number % 10) * 78 + b"\r\n") * (size // 80)
                smtp.sendmail("a@example.com", [USER], body)
        assert len(glob.glob(server.data + "/log/*.seg")) > 2
        wait_for_pass(server)
        assert not FOUND.search(server.log()), server.log()
        assert status(server)["problems"] == 0

        hit = sorted(random.sample(range(50), 8) + [59])  # 19 and 39 may be among them; 59 has a body file
        places = {}
        for number in hit:
            path, at = place_of(server.data, b"marker-%04d-" % number)
            places[number] = os.path.basename(path)
            flip(path, at + random.randrange(100))
        wait_for_pass(server)
        wait_for_pass(server)
        found = FOUND.findall(server.log())
        assert sorted(f[0] for f in found) == sorted(places.values()), (found, places)
        assert len({f[2] for f in found}) == len(hit), found
        assert status(server)["problems"] == len(hit), status(server)
        text = run("log", "stat", "--data", server.data).stdout
        assert f"{len(hit)} DAMAGES" in text, text

        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.user(USER)
        pop.pass_(PASSWORD)
        for number in range(60):
            try:
                lines = pop.retr(number + 1)[1]
                assert number not in hit and b"marker-%04d-" % number in b"\n".join(lines), number
            except poplib.error_proto as e:
                assert number in hit and b"-ERR [SYS/PERM]" in e.args[0], (number, e)
        pop.quit()

        verdict = run("log", "verify", "--json", "--data", server.data)
        assert verdict.returncode == 65 and len(json.loads(verdict.stdout)["problems"]) == len(hit), verdict.stdout


def test_a_segment_that_was_cut_is_told_and_the_server_lives(folder):
    with Server(folder + "/data", "--segment-size", "1MiB",
                "--set", "scrub.rate=1GiB", "--set", "scrub.interval=1s") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            for number in range(40):
                smtp.sendmail("a@example.com", [USER], b"Subject: x\r\n\r\n" + b"y" * 60_000 + b"\r\n")
        os.truncate(sorted(glob.glob(server.data + "/log/*.seg"))[0], 300_000)
        wait_for_pass(server)
        assert "the file has 300000 bytes; it was made with" in server.log(), server.log()
        assert server.process.poll() is None


def test_it_can_be_turned_off(folder):
    with Server(folder + "/data", "--set", "scrub.rate=0", "--set", "scrub.interval=1s") as server:
        time.sleep(3)  # nothing is to happen: there is nothing to wait for
        assert status(server) == {"passes": 0, "bytes": 0, "problems": 0, "passEnded": None}, status(server)
