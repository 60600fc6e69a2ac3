"""fastmail log verify, stat and dump on a log that a server wrote."""

import glob
import json
import os
import smtplib

from ledger import Ledger, start_senders
from server import USER, Server, run


def fill(server, count):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
        smtp.ehlo("client.test")
        for number in range(count):
            smtp.sendmail("a@example.com", [USER], b"Subject: %d\r\n\r\n" % number + b"x" * 70 + b"\r\n")


def records(data, *options):
    result = run("log", "dump", "--json", "--data", data, *options)
    assert result.returncode == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_the_log_verbs_explain_themselves(folder):
    for verb in ([], ["verify"], ["stat"], ["dump"]):
        result = run("log", *verb, "--help")
        assert result.returncode == 0 and "Usage:" in result.stdout and "--data" in result.stdout, (verb, result)
        assert not verb or "--json" in result.stdout, result
    assert "--from" in result.stdout and "--limit" in result.stdout, result
    wrong = run("log", "dump", "--from", "here", "--data", folder)
    assert wrong.returncode == 64 and "0x1000" in wrong.stderr, wrong


def test_a_log_in_use_is_looked_at_as_far_as_it_is_durable(folder):
    with Server(folder + "/data") as server:
        fill(server, 20)
        verdict = json.loads(run("log", "verify", "--json", "--data", server.data).stdout)
        assert not verdict["isDamaged"] and verdict["isComplete"] and verdict["problems"] == [], verdict
        stat = json.loads(run("log", "stat", "--json", "--data", server.data).stdout)
        assert stat["liveMessages"]["number"] == 20 and stat["tornBytes"] == 0, stat
        assert stat["server"]["processId"] == server.process.pid and stat["server"]["records"] == 20, stat
        assert sum(r["type"] == "message" for r in records(server.data)) == 20

        # What stands behind the durable position while a group is being written is neither a record nor a torn tail.
        ledger, seen = Ledger(), 0
        senders = start_senders(server, ledger, 4, 1, 0, [2000, 200_000])
        for _ in range(5):
            verdict = json.loads(run("log", "verify", "--json", "--data", server.data).stdout)
            assert verdict["problems"] == [] and verdict["records"] > seen, verdict
            seen = verdict["records"]
        server.kill()
        for sender in senders:
            sender.join()


def test_a_holder_of_the_lock_that_does_not_answer_is_told(folder):
    with Server(folder + "/data") as server:
        assert run("log", "stat", "--data", server.data).returncode == 0  # waits until the channel is open
        os.remove(server.data + "/control.sock")
        result = run("log", "verify", "--data", server.data)
        assert result.returncode == 75 and "in use" in result.stderr and not result.stdout, result


def test_no_log_is_told(folder):
    for verb in ("verify", "stat", "dump"):
        result = run("log", verb, "--data", folder + "/nothing")
        assert result.returncode == 66 and folder + "/nothing" in result.stderr, result


def test_a_sound_log_verifies_and_its_records_are_shown(folder):
    with Server(folder + "/data") as server:
        fill(server, 20)
        server.kill()
        result = run("log", "verify", "--data", server.data)  # right after a crash, before any recovery
        assert result.returncode == 0 and "no damage" in result.stdout.splitlines()[-1], result
        server.start()
        fill(server, 1)
    result = run("log", "verify", "--json", "--data", server.data)
    verdict = json.loads(result.stdout)
    assert result.returncode == 0 and not verdict["isDamaged"] and verdict["problems"] == [], result
    stat = json.loads(run("log", "stat", "--json", "--data", server.data).stdout)
    assert stat["liveMessages"]["number"] == 21 and stat["mailboxes"] == 1 and stat["isClean"], stat
    files = stat["segmentFiles"]
    assert [f["name"] for f in files] == sorted(n for n in os.listdir(server.data + "/log") if n.endswith(".seg")), files
    assert sum(f["bytes"] for f in files) == stat["bytes"], files
    for kind in ("liveMessages", "deadMessages"):
        assert sum(f[kind]["number"] for f in files) == stat[kind]["number"], files
    assert "closed in order" in run("log", "stat", "--data", server.data).stdout

    dumped = records(server.data)
    assert [r["seq"] for r in dumped] == list(range(1, stat["lastSeq"] + 1)), dumped
    messages = [r for r in dumped if r["type"] == "message"]
    assert [m["recipients"][0]["uid"] for m in messages] == list(range(1, 22)), messages
    assert messages[0]["reversePath"] == "a@example.com" and messages[0]["helo"] == "client.test", messages[0]
    sixth = dumped.index(messages[5])
    assert records(server.data, "--from", hex(messages[5]["lsn"]), "--limit", "3") == dumped[sixth:sixth + 3]
    text = run("log", "dump", "--data", server.data).stdout.splitlines()
    assert len(text) == len(dumped) and sum(f"to=<{USER}>" in line for line in text) == 21, text


def test_a_flipped_bit_is_found_and_the_rest_is_still_shown(folder):
    with Server(folder + "/data") as server:
        fill(server, 5)
    hit = [r for r in records(server.data) if r["type"] == "message"][2]
    segment, = glob.glob(server.data + "/log/*.seg")
    for offset, kind, shown in ((hit["lsn"] + hit["bytes"] - 60, "body", 5), (hit["lsn"] + 30, "header", 4)):
        with open(segment, "r+b") as f:
            f.seek(offset)
            value = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([value ^ 8]))
        result = run("log", "verify", "--data", server.data)
        assert result.returncode == 65, result
        problem = result.stdout.splitlines()[0]
        assert segment in problem and f"offset {hit['lsn']} " in problem and kind in problem, problem
        verdict = json.loads(run("log", "verify", "--json", "--data", server.data).stdout)
        assert verdict["isDamaged"] and verdict["problems"][0]["problem"] == kind, verdict
        result = run("log", "dump", "--data", server.data)
        assert result.returncode == 65 and result.stdout.count("from=<a@example.com>") == shown, result
        with open(segment, "r+b") as f:
            f.seek(offset)
            f.write(bytes([value]))
