"""POP3 as a client sees it where the policy of the whole server counts."""

import os
import poplib
import smtplib
import ssl

from maildrop import open_maildrop, retrieve
from server import PASSWORD, USER, Server, run

OTHER = "v@local.test"


def expiry(pop):
    return pop.capa()["EXPIRE"]


def test_EXPIRE_tells_what_retention_does(folder):
    with Server(folder + "/data", "--set", "retention.days=30", accounts=(USER, OTHER)) as server:
        def keep(days):
            result = run("account", "retention", USER, "--days", days, "--data", server.data)
            assert result.returncode == 0, result

        def stranger():
            pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
            try:
                return expiry(pop)
            finally:
                pop.quit()

        def owner(address):
            pop = open_maildrop(server, address)
            try:
                return expiry(pop)
            finally:
                pop.quit()

        assert (stranger(), owner(USER)) == (["30"], ["30"])
        keep("7")
        assert (stranger(), owner(USER), owner(OTHER)) == (["7", "USER"], ["7"], ["30"])
        keep("none")
        assert (stranger(), owner(USER), owner(OTHER)) == (["30", "USER"], ["NEVER"], ["30"])
        keep("default")
        assert (stranger(), owner(USER)) == (["30"], ["30"])


def send(server, *subjects):
    with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
        for subject in subjects:
            smtp.sendmail("a@example.com", [USER], f"Subject: {subject}\r\n\r\nx\r\n")


def subjects(pop):
    return [line[9:].decode() for n in range(1, pop.stat()[0] + 1)
            for line in pop.top(n, 0)[1] if line.startswith(b"Subject: ")]


def unique_ids(pop):
    return [line.split()[1] for line in pop.uidl()[1]]


def test_a_session_sees_the_maildrop_as_it_was_at_login(folder):
    with Server(folder + "/data") as server:
        send(server, "one")
        pop = open_maildrop(server)
        send(server, "two")
        assert pop.stat()[0] == 1 and subjects(pop) == ["one"]
        pop.quit()
        pop = open_maildrop(server)
        assert subjects(pop) == ["one", "two"]
        pop.quit()


def test_messages_stay_in_the_order_of_arrival_and_no_unique_id_is_used_again(folder):
    with Server(folder + "/data") as server:
        send(server, *"abcdef")
        pop = open_maildrop(server)
        first = unique_ids(pop)
        assert len(set(first)) == 6
        for n in (2, 6, 5):
            pop.dele(n)
        pop.quit()
        server.kill()
        server.start()
        send(server, *"gh")
        pop = open_maildrop(server)
        assert subjects(pop) == list("acdgh")
        second = unique_ids(pop)
        assert second[:3] == [first[0], first[2], first[3]] and not set(second[3:]) & set(first), (first, second)
        for n in range(1, 6):
            pop.dele(n)
        pop.quit()
        send(server, "i")  # into an empty maildrop
        pop = open_maildrop(server)
        assert not set(unique_ids(pop)) & set(first + second)
        pop.quit()


def test_any_end_but_QUIT_removes_nothing(folder):
    with Server(folder + "/data") as server:
        send(server, "one", "two")
        pop = open_maildrop(server)
        pop.dele(1)
        pop.close()  # the connection breaks
        pop = open_maildrop(server)  # waits for the lock as long as that takes
        assert subjects(pop) == ["one", "two"]
        pop.dele(2)
        server.stop()
        server.start()
        pop = open_maildrop(server)
        assert subjects(pop) == ["one", "two"]
        pop.quit()


def test_a_message_whose_first_octet_is_a_dot_arrives_whole(folder):
    for part in ("new", "cur", "tmp"):
        os.makedirs(f"{folder}/box/{part}")
    content = b".hidden: 1\r\n\r\n.\r\n..\r\nx\r\n"
    with open(folder + "/box/new/1.x.y", "wb") as file:
        file.write(content)
    with Server(folder + "/data") as server:
        result = run("maildrop", "import", USER, folder + "/box", "--format", "maildir", "--data", server.data)
        assert result.returncode == 0, result
        pop = open_maildrop(server)
        message, octets = retrieve(pop, 1)
        assert message == content, message  # an import has no trace fields, so this is the first octet
        assert pop.list(1).split()[2] == str(len(content)).encode()
        assert b"".join(line + b"\r\n" for line in pop.top(1, 99999999)[1]) == content
        pop.quit()


def test_a_maildrop_is_the_same_over_every_kind_of_connection(folder):
    with Server(folder + "/data") as server:
        send(server, "one", "two")
        context = ssl._create_unverified_context()  # the server's own certificate
        seen = []
        for kind in ("clear", "stls", "pop3s"):
            if kind == "pop3s":
                pop = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], timeout=30, context=context)
            else:
                pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
            if kind == "stls":
                pop.stls(context=context)
            assert ("STLS" in pop.capa()) == (kind == "clear")
            pop.user(USER)
            pop.pass_(PASSWORD)
            seen.append((pop.stat(), pop.list()[1], pop.uidl()[1], pop.retr(1)[1], pop.top(2, 0)[1]))
            pop.quit()
        assert seen[0] == seen[1] == seen[2], seen
