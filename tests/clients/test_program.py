"""The program itself: its verbs, its help, its exit codes, its signals."""

import json
import os
import smtplib
import socket
import threading
import time

from maildrop import content_of, open_maildrop, retrieve
from server import PASSWORD, USER, Server, add_account, dialog, run

VERBS = ([], ["serve"], ["account"], ["account", "add"], ["account", "list"], ["account", "passwd"], ["account", "remove"])


def test_every_verb_explains_itself(folder):
    for verb in VERBS:
        result = run(*verb, "--help")
        assert result.returncode == 0, (verb, result)
        assert "Usage:" in result.stdout and "--data" in result.stdout, (verb, result.stdout)
    text = run("serve", "--help").stdout
    for option in ("--hostname", "--mx", "--submission", "--pop3", "--segment-size", "127.0.0.1:2525"):
        assert option in text, option


def test_wrong_options_exit_64_and_say_what_is_wrong(folder):
    for words, told in (
            (["serve", "--mx", "127.0.0.1"], "127.0.0.1:2525"),
            (["serve", "--mx", "127.0.0.1:99999"], "ADDR:PORT"),
            (["serve", "--mx", "0177.0.0.1:25"], "IP address"),
            (["serve", "--hostname", "-bad-"], "host name"),
            (["serve", "--segment-size", "12"], "size between"),
            (["serve", "--no-such-option"], "--no-such-option"),
            (["sreve"], "sreve"),
            (["account", "add"], "ADDRESS"),
            (["account", "add", "no-at-sign"], "mailbox"),
            (["account", "add", "a@b@c"], "mailbox")):
        result = run(*words, "--data", folder + "/data")
        assert result.returncode == 64, (words, result)
        assert told in result.stderr and "--help" in result.stderr, (words, result.stderr)
        assert not result.stdout, (words, result.stdout)


def test_the_locale_of_whoever_starts_it_changes_nothing_and_without_ICU_nothing_starts(folder):
    add_account(folder + "/data", "Info@TITLE.test")  # Turkish would make other letters of the I
    try:
        os.environ["LC_ALL"] = "tr_TR.UTF-8"
        listed = run("account", "list", "--data", folder + "/data")
        assert "info@title.test" in listed.stdout.lower(), listed
        assert run("account", "passwd", "INFO@TITLE.TEST", "--password-stdin", "--data", folder + "/data",
                   stdin="another\n").returncode == 0
        with Server(folder + "/data", accounts=()) as server:
            reply = dialog(server.ports["mx"], b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<INFO@TITLE.test>\r\nDATA\r\n.\r\nQUIT\r\n")
            assert b"250 2.0.0" in reply, reply
            with socket.create_connection(("127.0.0.1", server.ports["pop3"])) as s, s.makefile("rb") as lines:
                s.sendall(b"USER info@title.test\r\nPASS another\r\nTOP 1 0\r\nQUIT\r\n")
                text = lines.read()
        assert any(day in text for day in (b"Mon,", b"Tue,", b"Wed,", b"Thu,", b"Fri,", b"Sat,", b"Sun,")), text
        os.environ["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] = "1"
        added = run("account", "add", "e\u0301@title.test", "--password-stdin", "--data", folder + "/data", stdin="another\n")
        if added.returncode == 0:  # a published program has its mode built in
            listed = run("account", "list", "--data", folder + "/data").stdout
            assert "\u00e9@title.test" in listed and "e\u0301" not in listed, listed
        else:
            assert added.returncode == 78 and "ICU" in added.stderr, added
    finally:
        os.environ.pop("LC_ALL", None)
        os.environ.pop("DOTNET_SYSTEM_GLOBALIZATION_INVARIANT", None)


def test_a_data_directory_is_made_on_demand_and_missing_accounts_are_told(folder):
    assert run("account", "list", "--data", folder + "/no/where").returncode == 66
    assert not os.path.exists(folder + "/no")
    with Server(folder + "/deep/data", accounts=()) as server:
        assert dialog(server.ports["mx"], b"QUIT\r\n").startswith(b"220 ")
        assert os.stat(server.data).st_mode & 0o077 == 0, "mail is for its owner's eyes only"
    with open(folder + "/file", "w", encoding="utf-8"):
        result = run("serve", "--data", folder + "/file", "--mx", "127.0.0.1:0", "--submission", "none", "--pop3", "none")
        assert result.returncode == 74 and folder + "/file" in result.stderr, result


def test_a_second_server_on_the_same_directory_exits_at_once(folder):
    with Server(folder + "/data") as server:
        began = time.monotonic()
        second = run("serve", "--data", server.data, "--mx", "127.0.0.1:0", "--submission", "none", "--pop3", "none")
        assert second.returncode == 75, second
        assert server.data in second.stderr and "ready" not in second.stdout, second
        assert time.monotonic() - began < 5
        assert dialog(server.ports["mx"], b"QUIT\r\n").startswith(b"220 ")


def test_an_address_in_use_is_told_and_exits_78(folder):
    with Server(folder + "/data") as server:
        port = server.ports["mx"]
        other = run("serve", "--data", folder + "/other", "--mx", f"127.0.0.1:{port}", "--submission", "none", "--pop3", "none")
        assert other.returncode == 78 and f"127.0.0.1:{port}" in other.stderr, other


def test_the_first_start_makes_the_demo_account_once(folder):
    with Server(folder + "/data", accounts=()) as server:
        time.sleep(0.1)
        first = server.log()
        assert "demo@localhost" in first and "curl" in first and "swaks" in first, first
        password = first.split("with the password ")[1].split()[0]
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as smtp:
            smtp.login("demo@localhost", password)
            smtp.sendmail("demo@localhost", ["demo@localhost"], "Subject: me\r\n\r\nx\r\n")
        server.stop()
        server.start()
        assert server.log().count("First start") == 1
        assert json.loads(run("account", "list", "--json", "--data", server.data).stdout)[0]["address"] == "demo@localhost"


def test_account_changes_reach_a_running_server_without_restart(folder):
    with Server(folder + "/data") as server:
        def rcpt(address):
            with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
                smtp.ehlo()
                smtp.mail("a@example.com")
                return smtp.rcpt(address)[0]

        def logs_in(user, password):
            with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60) as smtp:
                try:
                    return smtp.login(user, password)[0] == 235
                except smtplib.SMTPAuthenticationError:
                    return False

        assert rcpt("new@other.test") == 550
        add_account(server.data, "new@other.test")
        assert rcpt("new@other.test") == 250  # at once: the command has waited for the server
        assert logs_in("new@other.test", PASSWORD)
        assert run("account", "passwd", "new@other.test", "--password-stdin", "--data", server.data, stdin="other\n").returncode == 0
        assert not logs_in("new@other.test", PASSWORD)
        assert logs_in("new@other.test", "other")
        assert run("account", "add", "new@other.test", "--data", server.data).returncode == 73
        assert run("account", "remove", "new@other.test", "--data", server.data).returncode == 0
        assert rcpt("new@other.test") == 550
        assert run("account", "remove", "new@other.test", "--data", server.data).returncode == 67
        random_password = run("account", "add", "x@other.test", "--data", server.data).stdout.split()[-1]
        assert logs_in("x@other.test", random_password)


def test_sigterm_finishes_what_it_has_and_tells_the_rest(folder):
    with Server(folder + "/data") as server:
        idle = socket.create_connection(("127.0.0.1", server.ports["mx"]), 30)
        idle.recv(1000)
        acked, stopped = [], threading.Event()

        def send():
            try:
                with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
                    smtp.ehlo()
                    while not stopped.is_set():
                        smtp.sendmail("a@example.com", [USER], "Subject: drain\r\n\r\nx\r\n")
                        acked.append(1)
            except (smtplib.SMTPException, OSError):
                return  # told 421, or closed

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        time.sleep(1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 10
        stopped.set()
        for sender in senders:
            sender.join()
        assert idle.recv(1000).startswith(b"421 4.3.2"), "an idle session hears that the server goes away"
        idle.close()
        server.start()
        pop = open_maildrop(server)
        assert len(acked) > 0
        # One per sender may be stored whose 250 was lost with the connection.
        assert len(acked) <= pop.stat()[0] <= len(acked) + len(senders), (pop.stat(), len(acked))
        assert content_of(retrieve(pop, 1)[0]) == b"Subject: drain\r\n\r\nx\r\n"
        pop.quit()


def test_replies_do_not_depend_on_how_the_commands_arrive(folder):
    with Server(folder + "/data") as server:
        commands = (b"EHLO c.test\r\nMAIL FROM:<a@b.test> BODY=8BITMIME\r\nRCPT TO:<" + USER.encode() +
                    b">\r\nRCPT TO:<no@where.test>\r\nRSET\r\nVRFY x\r\nBOGUS\r\nNOOP\r\nQUIT\r\n")
        whole = dialog(server.ports["mx"], commands)
        with socket.create_connection(("127.0.0.1", server.ports["mx"]), 30) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in range(len(commands)):
                s.sendall(commands[i:i + 1])
                time.sleep(0.001)
            bytewise = b""
            while chunk := s.recv(65536):
                bytewise += chunk
        assert whole == bytewise, (whole, bytewise)
        assert whole.startswith(b"220 mx.local.test ") and whole.endswith(b"\r\n") and b"\r\n221 " in whole, whole
