"""fastmail maildrop list, export and import, read and written by Python's mailbox module too."""

import json
import mailbox
import os
import random
import smtplib

from maildrop import open_maildrop, retrieve
from server import USER, Server, add_account, run

OTHER = "v@local.test"
THIRD = "w@local.test"


def contents(seed, count):
    """Messages with everything that quoting and stuffing could get wrong."""
    chance = random.Random(seed)
    lines = [b"From the start", b">From quoted", b">>From twice", b".", b"..", b".dot", b"", b"", b"From ", b"x" * 998,
             "gr\u00fc\u00dfe".encode(), b" From not at the start", b"X-UIDL: in the body", b"last"]
    for number in range(count):
        body = [chance.choice(lines) for _ in range(chance.randrange(0, 12))]
        yield b"\r\n".join([b"Subject: %d" % number, b"From: a@example.com", b"", *body]) + b"\r\n"


def send(server, messages, recipient=USER):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=60) as smtp:
        smtp.ehlo("client.test")
        for message in messages:
            smtp.mail("a@example.com", ["body=8bitmime"])
            assert smtp.rcpt(recipient)[0] == 250
            assert smtp.data(message)[0] == 250


def fetch(server, user):
    """Unique-ids and messages as POP3 gives them."""
    pop = open_maildrop(server, user)
    ids = [line.split()[1].decode() for line in pop.uidl()[1]]
    messages = [retrieve(pop, number + 1)[0] for number in range(len(ids))]
    pop.quit()
    return list(zip(ids, messages))


def verb(server, *args, code=0):
    result = run("maildrop", *args, "--data", server.data, timeout=120)
    assert result.returncode == code, result
    return result


def transfer(server, *args, code=0):
    return json.loads(verb(server, *args, "--json", code=code).stdout)


def test_a_round_trip_keeps_octets_and_unique_ids(folder):
    with Server(folder + "/data", "--set", "store.segment_size=4MiB", accounts=(USER, OTHER, THIRD)) as server:
        send(server, contents(1, 40))
        pop = open_maildrop(server)
        for number in (1, 7, 8):
            pop.dele(number)
        pop.quit()
        held = fetch(server, USER)
        assert len(held) == 37
        for form, ends, into in (("mbox", "lf", OTHER), ("maildir", "crlf", THIRD)):
            path = f"{folder}/{form}"
            assert transfer(server, "export", USER, path, "--format", form, "--line-ends", ends)["messages"] == 37
            report = transfer(server, "import", into, path, "--format", form)
            assert report["messages"] == 37 and report["renamed"] == 0 and report["damaged"] == 0, report
            assert fetch(server, into) == held
            send(server, contents(2, 3), into)  # new mail takes no id that came by import
            ids = [i for i, _ in fetch(server, into)]
            assert len(set(ids)) == 40, ids
        server.stop()

        # Without a server, and from there into another store.
        assert transfer(server, "export", THIRD, folder + "/again", "--format", "mbox", "--line-ends", "crlf")["messages"] == 40
        with Server(folder + "/second/data") as second:
            second.stop()
            assert transfer(second, "import", USER, folder + "/again", "--format", "mbox")["messages"] == 40
            assert run("log", "verify", "--data", second.data).returncode == 0
            second.start()
            there = fetch(second, USER)
            assert there[:37] == held and len(there) == 40
            second.kill()
            second.start()
            assert fetch(second, USER) == there


def test_python_reads_the_exports(folder):
    with Server(folder + "/data", accounts=(USER, OTHER)) as server:
        send(server, contents(3, 20))
        held = fetch(server, USER)
        verb(server, "export", "--all", folder + "/all", "--format", "mbox")
        assert sorted(os.listdir(folder + "/all")) == [USER, OTHER]
        box = mailbox.mbox(folder + "/all/" + USER, create=False)
        assert len(box) == 20
        for (unique_id, message), read in zip(held, box):
            assert read["X-UIDL"] == unique_id and read["Subject"] in message.decode("utf8", "replace")
            assert read.get_from().startswith("a@example.com ")
        assert len(mailbox.mbox(folder + "/all/" + OTHER, create=False)) == 0
        verb(server, "export", USER, folder + "/dir", "--format", "maildir", "--line-ends", "crlf")
        box = mailbox.Maildir(folder + "/dir", create=False)
        assert sorted(box.get_bytes(key) for key in box.keys()) == sorted(message for _, message in held)
        for name in os.listdir(folder + "/dir/new"):
            size = os.path.getsize(folder + "/dir/new/" + name)
            assert f",S={size},W={size}" in name and int(os.path.getmtime(folder + "/dir/new/" + name)) == int(name.split(".")[0])
        with open(folder + "/dir/dovecot-uidlist") as f:
            lines = f.read().splitlines()
        assert lines[0].startswith("3 V") and [line.split()[1][1:] for line in lines[1:]] == [i for i, _ in held]
        assert verb(server, "export", USER, folder + "/dir", "--format", "maildir", code=73).stderr


def test_mail_of_others_comes_in_and_an_import_can_be_repeated(folder):
    box = mailbox.mbox(folder + "/box")
    for number in range(5):
        message = mailbox.mboxMessage(b"Subject: %d\nX-UIDL: id-%d\n\nFrom here\n>From there\n" % (number, number))
        message.set_from("sender@example.net", (2001, 2, 3, 4, 5, number, 0, 0, 0))
        box.add(message)
    box.add(b"Subject: without an id\n\nno end of line")
    box.close()
    maildir = mailbox.Maildir(folder + "/dir")
    for number in range(3):
        maildir.add(b"Subject: dir %d\n\n.\n" % number)
    with Server(folder + "/data", "--set", "quota.messages=5", accounts=(USER, OTHER)) as server:
        report = transfer(server, "import", USER, folder + "/box", "--format", "mbox", "--skip-present")
        assert report["messages"] == 6 and report["present"] == 0, report
        report = transfer(server, "import", USER, folder + "/box", "--format", "mbox", "--skip-present")
        assert report["messages"] == 0 and report["present"] == 6, report
        report = transfer(server, "import", USER, folder + "/box", "--format", "mbox")
        assert report["messages"] == 6 and report["renamed"] == 5, report
        held = fetch(server, USER)
        assert [i for i, _ in held[:5]] == [f"id-{n}" for n in range(5)] and len({i for i, _ in held}) == 12
        assert held[0][1] == b"Subject: 0\r\nX-UIDL: id-0\r\n\r\nFrom here\r\nFrom there\r\n", held[0]
        assert held[5][1] == b"Subject: without an id\r\n\r\nno end of line\r\n"
        verb(server, "export", USER, folder + "/out", "--format", "maildir")
        assert min(int(name.split(".")[0]) for name in os.listdir(folder + "/out/new")) == 981173100
        for _ in range(2):
            transfer(server, "import", OTHER, folder + "/dir", "--format", "maildir", "--skip-present")
        assert sorted(m for _, m in fetch(server, OTHER)) == [b"Subject: dir %d\r\n\r\n.\r\n" % n for n in range(3)]
        listed = {m["address"]: m for m in json.loads(verb(server, "list", "--json").stdout)}
        assert listed[USER]["messages"] == 12 and listed[USER]["quotaMessages"] == 5 and listed[OTHER]["messages"] == 3
        assert USER in verb(server, "list").stdout


def test_what_is_no_message_is_told_and_refused_or_skipped(folder):
    with open(folder + "/box", "wb") as f:
        f.write(b"rubbish in front\n\nFrom a@b Sat Feb  3 04:05:06 2001\nSubject: 1\n\none\n\n"
                b"From a@b Sat Feb  3 04:05:06 2001\nSubject: 2\n\nt\0o\n\n"
                b"From a@b Sat Feb  3 04:05:06 2001\nSubject: 3\n\nthree\n")
    os.makedirs(folder + "/dir/cur")
    for name, text in (("1.a:2,S", b""), ("2.b:2,", b"Subject: 4\n\nfour\n")):
        with open(f"{folder}/dir/cur/{name}", "wb") as f:
            f.write(text)
    with Server(folder + "/data") as server:
        result = verb(server, "import", USER, folder + "/box", "--format", "mbox", code=65)
        assert folder + "/box:1:" in result.stderr and "imported 0 messages" in result.stdout, result
        result = verb(server, "import", USER, folder + "/box", "--format", "mbox", "--skip-damaged", code=65)
        assert folder + "/box:8: holds NUL" in result.stderr and "imported 2 messages" in result.stdout, result
        result = verb(server, "import", USER, folder + "/dir", "--format", "maildir", "--skip-damaged", code=65)
        assert "1.a:2,S: the file is empty" in result.stderr and "imported 1 messages" in result.stdout, result
        assert [m.split(b"\r\n")[0] for _, m in fetch(server, USER)] == [b"Subject: 1", b"Subject: 3", b"Subject: 4"]
        verb(server, "import", "nobody@local.test", folder + "/box", "--format", "mbox", code=67)
        verb(server, "import", USER, folder + "/none", "--format", "mbox", code=66)
        verb(server, "import", USER, folder + "/box", "--format", "maildir", code=66)
        verb(server, "export", "nobody@local.test", folder + "/x", "--format", "mbox", code=67)
        verb(server, "export", folder + "/x", "--format", "mbox", code=64)
        verb(server, "import", USER, folder + "/box", "--format", "mh", code=64)


def test_large_messages_go_out_and_in(folder):
    with Server(folder + "/data", "--max-message-size", "64MiB", accounts=(USER, OTHER)) as server:
        send(server, [b"Subject: large\r\n\r\n" + (b".." + b"y" * 96 + b"\r\n") * 120_000])
        held = fetch(server, USER)
        verb(server, "export", USER, folder + "/box", "--format", "mbox")
        assert transfer(server, "import", OTHER, folder + "/box", "--format", "mbox")["messages"] == 1
        assert fetch(server, OTHER) == held


def test_mail_of_a_removed_account_can_be_exported_and_purged(folder):
    """With and without a running server; the account that comes under the same address has none of it, and keeps its own."""
    with Server(folder + "/data", accounts=(USER, OTHER)) as server:
        send(server, contents(7, 5), OTHER)
        send(server, contents(8, 2))
        kept = fetch(server, OTHER)
        assert run("maildrop", "list", "--removed", "--data", server.data).stdout == ""
        verb(server, "purge", "2", code=67)
        assert len(fetch(server, OTHER)) == 5
        removal = run("account", "remove", OTHER, "--data", server.data)
        assert removal.returncode == 0 and "maildrop purge 2" in removal.stdout, removal
        add_account(server.data, OTHER)
        send(server, contents(9, 1), OTHER)
        left, = json.loads(verb(server, "list", "--removed", "--json").stdout)
        assert (left["mailboxId"], left["address"], left["messages"]) == (2, OTHER, 5), left
        assert transfer(server, "export", "--mailbox", "2", folder + "/left", "--format", "maildir")["messages"] == 5
        assert len(mailbox.Maildir(folder + "/left", create=False)) == 5
        verb(server, "export", "--mailbox", "1", folder + "/own", "--format", "maildir", code=67)
        verb(server, "export", "--mailbox", "2", OTHER, folder + "/both", "--format", "maildir", code=64)
        server.stop()

        assert "would remove 5 messages" in verb(server, "purge", "2", "--dry-run").stdout
        exported = transfer(server, "export", "--mailbox", "2", folder + "/again", "--format", "mbox")
        assert exported["messages"] == 5, exported
        server.start()
        for number in (1, 3, 4):  # with an account, with an account, never given
            verb(server, "purge", str(number), code=67)
        assert json.loads(verb(server, "purge", "2", "--json").stdout) == {"messages": 5, "octets": left["octets"]}
        assert verb(server, "list", "--removed").stdout == ""
        verb(server, "purge", "2", code=67)
        server.stop()
        server.start()
        assert verb(server, "list", "--removed").stdout == ""
        assert len(fetch(server, OTHER)) == 1 and len(fetch(server, USER)) == 2 and len(kept) == 5
        run("account", "remove", OTHER, "--data", server.data)
        server.stop()
        assert json.loads(verb(server, "purge", "3", "--json").stdout)["messages"] == 1
        verb(server, "purge", "3", code=67)
