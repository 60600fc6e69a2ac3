"""fastmail backup of a running and of a stopped server, and servers started in copies of it."""

import glob
import json
import os
import shutil
import signal
import smtplib
import subprocess
import time

from ledger import Ledger, start_senders
from maildrop import open_maildrop
from server import USER, Server, program, run
from test_log import fill


def backup(data, target, *options):
    result = run("backup", target, "--json", "--data", data, *options, timeout=120)
    assert result.returncode == 0, result
    report = json.loads(result.stdout)
    assert report["damages"] == 0, report
    return report


def unique_ids(server):
    pop = open_maildrop(server)
    lines = pop.uidl()[1]
    pop.quit()
    return lines


def restored(folder, target, name="restored"):
    """A server in a copy of the backup; it has the accounts already."""
    place = f"{folder}/{name}/data"
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    subprocess.run(["cp", "-a", target, place], check=True)
    return Server(place, accounts=())


def test_a_backup_under_load_holds_everything_acknowledged_before_it_began(folder):
    with Server(folder + "/data", "--segment-size", "1MiB", "--set", "store.checkpoint_interval=1s") as server:
        ledger = Ledger()
        senders = start_senders(server, ledger, 4, 1, 0, [500, 5000, 60_000])
        for number in range(3):
            time.sleep(0.4)
            with ledger.lock:
                before = set(ledger.acked)
            backup(server.data, f"{folder}/backup", *(["--incremental"] if number else []))
            reached = json.load(open(folder + "/backup/backup.json"))["endLsn"]
            for path in glob.glob(folder + "/backup/ckpt/*"):
                assert int(os.path.basename(path), 16) <= reached, (path, reached)
            with restored(folder, folder + "/backup") as copy:
                assert "checkpoint" not in copy.log(), copy.log()
                seen = Ledger()
                seen.sent, seen.acked = set(ledger.sent), before
                assert seen.judge(copy, delete=False) >= len(before) > 0
        assert server.process.poll() is None and glob.glob(folder + "/backup/ckpt/*/MANIFEST")
        server.kill()
        for sender in senders:
            sender.join()
        assert len(glob.glob(server.data + "/log/*.seg")) > 2


def test_an_incremental_backup_brings_what_is_missing_and_unique_ids_stay(folder):
    with Server(folder + "/data", "--segment-size", "1MiB", accounts=(USER, "w@local.test")) as server:
        fill_large(server, 30)
        first = backup(server.data, folder + "/backup")
        assert first["linked"] == first["segments"] - 1 > 0 and first["kept"] == 0, first
        fill_large(server, 30)
        again = run("backup", folder + "/backup", "--data", server.data)
        assert again.returncode == 73 and "--incremental" in again.stderr, again
        second = backup(server.data, folder + "/backup", "--incremental")
        assert second["kept"] == first["segments"] - 1 and second["segments"] > first["segments"], (first, second)
        ids = unique_ids(server)
        with restored(folder, folder + "/backup") as copy:
            assert unique_ids(copy) == ids and len(ids) == 60
            fill(copy, 1)
            assert unique_ids(copy)[:-1] == ids
            pop = open_maildrop(copy, "w@local.test")
            assert pop.stat() == (0, 0)
        assert unique_ids(server) == ids  # the original has not heard of its copy
    third = backup(server.data, folder + "/backup", "--incremental")  # no server runs now
    assert third["kept"] == second["segments"] - 1, third
    assert run("log", "verify", "--data", folder + "/backup").returncode == 0


def test_mail_behind_a_restore_gets_no_unique_id_that_was_given_behind_the_backup(folder):
    with Server(folder + "/data") as server:
        fill(server, 3)
        backup(server.data, folder + "/backup")
        fill(server, 3)
        given = unique_ids(server)
    with restored(folder, folder + "/backup") as copy:
        assert unique_ids(copy) == given[:3]
        assert "was restored from a backup" in copy.log() and not os.path.exists(copy.data + "/backup.json")
        fill(copy, 3)
        new = {line.split()[1] for line in unique_ids(copy)[3:]}
        assert len(new) == 3 and not new & {line.split()[1] for line in given}, (new, given)
        backup(copy.data, folder + "/again")
    assert run("log", "verify", "--data", copy.data).returncode == 0


def fill_large(server, count):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
        for number in range(count):
            smtp.sendmail("a@example.com", [USER], b"Subject: %d\r\n\r\n" % number + (b"x" * 70 + b"\r\n") * 1400)


def test_copies_share_nothing_with_the_original(folder):
    with Server(folder + "/data", "--segment-size", "1MiB") as server:
        fill_large(server, 30)
        report = backup(server.data, folder + "/backup", "--copy")
        assert report["linked"] == 0 and report["copied"] >= report["segments"] + 1, report
    assert all(os.stat(path).st_nlink == 1 for path in glob.glob(folder + "/backup/log/*"))
    assert {os.stat(p).st_mode & 0o77 for p in glob.glob(folder + "/backup/**", recursive=True)} == {0}


def test_directories_that_cannot_take_a_backup_are_refused(folder):
    with Server(folder + "/data") as server:
        os.makedirs(folder + "/other")
        open(folder + "/other/file", "w").close()
        for target, why in ((folder + "/other", "not empty"), (server.data + "/inside", "within"),
                            (server.data, "within")):
            result = run("backup", target, "--incremental", "--data", server.data)
            assert result.returncode == 73 and why in result.stderr, result
        backup(server.data, folder + "/backup")
        with Server(folder + "/backup", accounts=()):
            pass
        result = run("backup", folder + "/backup", "--incremental", "--data", server.data)
        assert result.returncode == 73 and "has been started" in result.stderr, result
    result = run("backup", folder + "/new", "--data", folder + "/nothing")
    assert result.returncode == 66 and not os.path.exists(folder + "/new"), result


def test_damage_in_the_log_is_told_by_its_backup(folder):
    with Server(folder + "/data") as server:
        fill(server, 3)
    message = [json.loads(line) for line in run("log", "dump", "--json", "--data", server.data).stdout.splitlines()
               if '"message"' in line][1]
    with open(server.data + "/log/0-0000000000000000.seg", "r+b") as f:
        f.seek(message["lsn"] + message["bytes"] - 50)
        f.write(b"!")
    result = run("backup", folder + "/backup", "--data", server.data)
    assert result.returncode == 65 and "body" in result.stderr, result


def test_an_unfinished_backup_can_be_told_from_a_store_too(folder):
    with Server(folder + "/data") as server:
        fill(server, 3)
    accounts = open(server.data + "/accounts.db", "rb").read()
    with open(server.data + "/accounts.db", "wb") as f:
        f.write(b"no accounts" * 1000)  # they are copied when the log is there
    assert run("backup", folder + "/backup", "--data", server.data).returncode != 0
    assert open(folder + "/backup/backup.json").read() == ""
    with open(server.data + "/accounts.db", "wb") as f:
        f.write(accounts)
    backup(server.data, folder + "/backup", "--incremental")
    assert json.load(open(folder + "/backup/backup.json"))["segments"]
    with restored(folder, folder + "/backup") as copy:
        assert len(unique_ids(copy)) == 3


def test_an_interrupted_backup_goes_on(folder):
    with Server(folder + "/data", "--segment-size", "4MiB") as server:
        fill_large(server, 300)
        for delay in (0.0, 0.15, 0.2, 0.25, 0.3):
            process = subprocess.Popen([*program(), "backup", folder + "/backup", "--incremental", "--copy", "--data",
                                        server.data], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            assert process.returncode in (0, 130, -2), (process.returncode, err)
        backup(server.data, folder + "/backup", "--incremental")
        ids = unique_ids(server)
        assert not glob.glob(folder + "/backup/**/*.part", recursive=True)
        with restored(folder, folder + "/backup") as copy:
            assert unique_ids(copy) == ids and len(ids) == 300


def test_what_no_run_has_read_back_is_read_back_by_the_next(folder):
    with Server(folder + "/data", "--segment-size", "1MiB") as server:
        fill_large(server, 30)
        manifest = folder + "/backup/backup.json"
        whole = backup(server.data, folder + "/whole")
        first = run("backup", folder + "/backup", "--no-verify", "--data", server.data, timeout=120)
        assert first.returncode == 0 and json.load(open(manifest))["unverifiedFrom"] == 0, first
        second = backup(server.data, folder + "/backup", "--incremental")
        assert second["kept"] > 0 and second["verifiedRecords"] >= whole["verifiedRecords"], (whole, second)
        assert json.load(open(manifest))["unverifiedFrom"] is None
        third = backup(server.data, folder + "/backup", "--incremental")
        assert third["verifiedRecords"] < whole["verifiedRecords"], (whole, third)


def test_a_server_that_is_restarted_meanwhile_lets_a_backup_go(folder):
    with Server(folder + "/data", "--segment-size", "4MiB") as server:
        fill_large(server, 300)
        process = subprocess.Popen([*program(), "backup", folder + "/backup", "--copy", "--data", server.data],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        until = time.monotonic() + 30
        while not glob.glob(folder + "/backup/log/*.part") and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        server.kill()
        server.start()
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 75 and "the server stopped meanwhile" in err, (process.returncode, err)
        assert not glob.glob(folder + "/backup/log/*.seg")
        backup(server.data, folder + "/backup", "--incremental")
