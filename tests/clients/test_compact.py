"""fastmail log compact: space comes back, mail and unique-ids stay."""

import glob
import json
import os
import poplib
import signal
import smtplib
import subprocess

from server import PASSWORD, USER, Server, program, run


def space(data):
    """Octets that the segments take on the disk."""
    return sum(os.stat(path).st_blocks * 512 for path in glob.glob(data + "/log/*.seg"))


def deliver(server, count):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
        for number in range(count):
            size = [200, 3000, 30_000, 200_000][number % 4]
            lines = (b"line of message %d\r\n" % number) * (size // 20)
            smtp.sendmail("a@example.com", [USER], b"Subject: %d\r\n\r\n" % number + lines)


def fetch(server):
    """All messages by unique-id."""
    pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
    pop.user(USER)
    pop.pass_(PASSWORD)
    ids = [line.split()[1] for line in pop.uidl()[1]]
    messages = {uid: b"\n".join(pop.retr(index + 1)[1]) for index, uid in enumerate(ids)}
    pop.quit()
    return messages


def delete_most(server, keep):
    """All but every keep-th message; what is left."""
    pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
    pop.user(USER)
    pop.pass_(PASSWORD)
    for number in range(1, len(pop.list()[1]) + 1):
        if number % keep:
            pop.dele(number)
    pop.quit()
    return fetch(server)


def check(server, keep, compact):
    deliver(server, 160)
    kept = delete_most(server, keep)
    assert len(kept) == 160 // keep
    before = space(server.data)
    compact()
    after = space(server.data)
    assert after < before / 3, (before, after)
    return kept


def test_a_running_server_gives_space_back_and_keeps_its_mail(folder):
    with Server(folder + "/data", "--segment-size", "1MiB") as server:
        def compact():
            result = run("log", "compact", "--json", "--data", server.data)
            assert result.returncode == 0, result
            step = json.loads(result.stdout)
            assert step["isComplete"] and step["segments"] > 5 and step["messages"] > 0, step

        kept = check(server, 10, compact)
        assert fetch(server) == kept
        assert run("log", "verify", "--data", server.data).returncode == 0
        server.kill()
        server.start()
        assert fetch(server) == kept
        again = run("log", "compact", "--data", server.data)
        assert again.returncode == 0 and "messages of" in again.stdout, again


def test_without_a_server_too_and_readers_of_the_result_see_the_same(folder):
    with Server(folder + "/data", "--segment-size", "1MiB") as server:
        deliver(server, 160)
        kept = delete_most(server, 10)
        server.stop()
        with open(server.data + "/fastmail.json", "w") as f:
            json.dump({"store": {"segment_size": "1MiB"}}, f)
        before = space(server.data)
        result = run("log", "compact", "--data", server.data)
        assert result.returncode == 0 and "segments of" in result.stdout, result
        assert space(server.data) < before / 3, (before, space(server.data))
        assert run("log", "verify", "--data", server.data).returncode == 0
        server.start()
        assert fetch(server) == kept


def test_it_can_be_interrupted_and_goes_on_the_next_time(folder):
    with Server(folder + "/data", "--segment-size", "1MiB") as server:
        deliver(server, 160)
        kept = delete_most(server, 4)
        process = subprocess.Popen([*program(), "log", "compact", "--json", "--data", server.data],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.send_signal(signal.SIGINT)  # whenever that is: before it listens, while it works, or behind
        process.communicate(timeout=60)
        assert process.returncode in (0, 130, -signal.SIGINT), process.returncode
        assert fetch(server) == kept
        assert run("log", "compact", "--data", server.data).returncode == 0
        assert fetch(server) == kept


def test_it_refuses_what_it_cannot_do(folder):
    wrong = run("log", "compact", "--dead-ratio", "2", "--data", folder)
    assert wrong.returncode == 64 and "0 to 1" in wrong.stderr, wrong
    empty = run("log", "compact", "--data", folder)
    assert empty.returncode == 66, empty


def test_settings_that_cannot_be_read_are_told(folder):
    with Server(folder + "/data") as server:
        pass
    with open(server.data + "/fastmail.json", "w") as f:
        f.write("{")
    result = run("log", "compact", "--data", server.data)
    assert result.returncode == 74 and result.stderr.startswith("fastmail: ") and "   at " not in result.stderr, result
