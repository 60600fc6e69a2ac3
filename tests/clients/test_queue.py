"""The queue on the command line, of a running server and without one; sendmail and mailq."""

import email
import json
import os
import poplib
import re
import smtplib
import socket
import socketserver
import subprocess
import threading
import time

import notification
from server import PASSWORD, USER, Server, program, run


class Sink(socketserver.ThreadingTCPServer):
    """A next hop that takes everything; mail is a list of (sender, recipients, content)."""

    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.say(b"220 sink.test ESMTP")
            sender, recipients = None, []
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"EHLO":
                    self.say(b"250-sink.test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING")
                elif word == b"MAIL":
                    sender, recipients = re.search(rb"<(.*?)>", line)[1].decode(), []
                    self.say(b"250 ok")
                elif word == b"RCPT":
                    recipients.append(re.search(rb"<(.*?)>", line)[1].decode())
                    self.say(b"250 ok")
                elif word == b"DATA":
                    self.say(b"354 go on")
                    content = b""
                    while not content.endswith(b"\r\n.\r\n"):
                        content += self.rfile.readline()
                    content = content[:-3].replace(b"\r\n..", b"\r\n.")
                    self.server.mail.append((sender, recipients, content))
                    self.say(b"250 taken")
                elif word == b"QUIT":
                    return  # the client need not wait for an answer
                else:
                    self.say(b"250 ok")

        def say(self, text):
            self.wfile.write(text + b"\r\n")

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Sink.Handler)
        self.mail = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def wait(self, count=1, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.mail) < count:
            assert time.monotonic() < deadline, f"{len(self.mail)} of {count} messages came"
            time.sleep(0.02)
        return self.mail

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def submit(server, to, sender=USER, text="Subject: hello\r\n\r\nHello.\r\n", options=(), rcpt_options=()):
    """Sends as USER; the transaction id."""
    with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=30) as smtp:
        smtp.ehlo()
        smtp.login(USER, PASSWORD)
        assert smtp.mail(sender, list(options))[0] == 250
        for address in to:
            assert smtp.rcpt(address, list(rcpt_options))[0] == 250
        code, reply = smtp.data(text)
        assert code == 250, reply
        return re.search(rb"\b[0-9A-Z]{13}\b", reply)[0].decode()


def queue(server, *args, code=0):
    result = run("queue", *args, "--data", server.data)
    assert result.returncode == code, result
    return result.stdout


def entries(server, *args):
    return [json.loads(line) for line in queue(server, "list", "--json", *args).splitlines()]


def await_entries(server, fits, *args, seconds=30):
    deadline = time.monotonic() + seconds
    while not fits(found := entries(server, *args)):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def fetch_all(server, count, user=USER, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        pop.user(user)
        pop.pass_(PASSWORD)
        n = pop.stat()[0]
        messages = [b"\r\n".join(pop.retr(i + 1)[1]) + b"\r\n" for i in range(n)]
        pop.quit()
        if n >= count:
            return messages
        assert time.monotonic() < deadline, f"{n} of {count} messages"
        time.sleep(0.1)


def test_the_queue_is_seen_and_treated_while_the_server_runs(folder):
    port = free_port()
    with Server(folder + "/data", "--route", f"far.test=127.0.0.1:{port}") as server:
        one = submit(server, ["a@far.test", "b@far.test"], rcpt_options=["NOTIFY=FAILURE,DELAY"])
        two = submit(server, ["c@far.test"])
        waiting = await_entries(server, lambda e: len(e) == 3 and all(x["state"] == "deferred" for x in e))
        assert [(e["id"], e["to"], e["attempts"]) for e in waiting] == \
            [(one, "a@far.test", 1), (one, "b@far.test", 1), (two, "c@far.test", 1)], waiting
        assert all("refused" in e["reply"].lower() for e in waiting), waiting
        assert queue(server, "list").endswith("\n3 recipients\n")

        stats = json.loads(queue(server, "stats", "--json"))
        assert (stats["messages"], stats["recipients"], stats["deferred"]) == (2, 3, 3), stats
        assert [d["name"] for d in stats["domains"]] == ["far.test"] and stats["destinations"][0]["blockedUntil"], stats
        shown = json.loads(queue(server, "show", one, "--json"))
        assert [r["notify"] for r in shown["recipients"]] == ["FAILURE,DELAY"] * 2 and shown["authenticated"] == USER
        told = queue(server, "explain", two.lower())
        assert re.search(r"received .* from 127\.0\.0\.1.*logged in as " + USER, told), told
        assert re.search(r"deferred <c@far\.test>, next .*refused", told), told
        assert f"routed <c@far.test>: goes to 127.0.0.1:{port}, decided by: route.table 'far.test=127.0.0.1:{port}'" in told, told

        assert "would" not in queue(server, "hold", "--to-domain", "far.test", "--dry-run")
        assert not entries(server, "--state", "held")
        assert queue(server, "hold", one) == "2 recipients held\n"
        assert [e["id"] for e in entries(server, "--state", "held")] == [one, one]
        assert queue(server, "retry", one).startswith("0 recipients to be tried now, 2 are held")
        queue(server, "hold", "0000000000000", code=66)
        queue(server, "hold", code=64)
        queue(server, "show", "0000000000000", code=66)

        with Sink(port) as sink:
            assert queue(server, "retry", "--all") == (
                "1 recipients to be tried now, 2 are held, by their senders or an operator: release them\n")
            assert sink.wait()[0][1] == ["c@far.test"], sink.mail
            assert queue(server, "redirect", "--to", "d@far.test", one) == "2 recipients redirected\n"
            assert {e["to"] for e in entries(server)} == {"d@far.test"}
            assert queue(server, "release", "--from", USER) == "2 recipients released\n"
            sink.wait(2)
            await_entries(server, lambda e: not e)
            assert {r for m in sink.mail[1:] for r in m[1]} == {"d@far.test"}, sink.mail


def test_what_is_held_or_redirected_is_so_after_a_restart_and_without_a_server(folder):
    port = free_port()
    with Server(folder + "/data", "--route", f"far.test=127.0.0.1:{port}") as server:
        one = submit(server, ["a@far.test", "b@far.test"])
        await_entries(server, lambda e: len(e) == 2 and all(x["state"] == "deferred" for x in e))
        queue(server, "hold", "--all")
        server.kill()
        assert [e["state"] for e in entries(server)] == ["held", "held"]
        assert queue(server, "redirect", "--to", USER, one) == "2 recipients redirected\n"
        assert queue(server, "cancel", "--notify", one, code=75) == ""
        server.start()
        assert [(e["state"], e["to"]) for e in entries(server)] == [("held", USER)] * 2
        assert queue(server, "release", one) == "2 recipients released\n"
        fetch_all(server, 1)
        await_entries(server, lambda e: not e)


def test_a_message_is_explained_after_its_end(folder):
    with Sink() as sink, Server(folder + "/data", "--route", f"relay.test=127.0.0.1:{sink.server_address[1]}") as server:
        name = submit(server, ["a@relay.test", USER, "b@relay.test"])
        sink.wait(1)
        await_entries(server, lambda found: not found)
        told = json.loads(queue(server, "explain", name.lower(), "--json"))
        assert told["id"] == name and told["from"] == USER and told["authenticated"] == USER, told
        assert {r["to"]: r["state"] for r in told["recipients"]} == dict.fromkeys(["a@relay.test", USER, "b@relay.test"], "delivered"), told
        steps = [(s["state"], s.get("to")) for s in told["steps"]]
        assert steps[0] == ("received", None) and ("delivered", "a@relay.test") in steps, steps
        port = sink.server_address[1]
        routed = f"goes to 127.0.0.1:{port}, decided by: route.table 'relay.test=127.0.0.1:{port}'"
        for to in ("a@relay.test", "b@relay.test"):
            way, end = [s for s in told["steps"] if s.get("to") == to]
            assert (way["state"], way["text"]) == ("routed", routed), told
            assert end["state"] == "delivered" and "127.0.0.1" in end["text"] and end["tls"] == "in the clear", told
        assert "a@relay.test> delivered" in queue(server, "show", name)
        assert "does not hold it" in run("queue", "explain", "0000000000000", "--data", server.data).stderr
        queue(server, "show", "0000000000000", code=66)
        server.stop()
        assert json.loads(queue(server, "explain", name, "--json")) == told


def test_senders_hear_of_what_the_operator_cancels_only_when_asked(folder):
    port = free_port()
    with Server(folder + "/data", "--route", f"far.test=127.0.0.1:{port}") as server:
        quiet = submit(server, ["a@far.test"])
        told = submit(server, ["b@far.test", "c@far.test"], options=["ENVID=QQ+2B1", "RET=HDRS"], rcpt_options=["ORCPT=rfc822;B@far.test"])
        await_entries(server, lambda e: len(e) == 3 and all(x["state"] == "deferred" for x in e))
        assert queue(server, "cancel", quiet) == "1 recipients cancelled\n"
        queue(server, "hold", told)
        assert queue(server, "cancel", "--notify", told) == "2 recipients cancelled\n"
        await_entries(server, lambda e: not e)
        notices = fetch_all(server, 1)
        deadline = time.monotonic() + 20
        while sum(n.count(b"Final-Recipient:") for n in notices) < 2:  # one or two notifications
            assert time.monotonic() < deadline, notices
            notices = fetch_all(server, 1)
        for notice in notices:
            assert notification.problems(notice) == [], (notification.problems(notice), notice)
            about, recipients = notification.blocks(email.message_from_bytes(notice).get_payload()[1])
            assert about["Original-Envelope-Id"] == "QQ+1"
            for fields in recipients:
                assert fields["Status"] == "5.7.0" and fields["Original-Recipient"] == "rfc822; B@far.test", fields.as_string()
            assert b"Return-Path: <>\r\n" in notice and b"cancelled by the operator" in notice
            assert b"text/rfc822-headers" in notice and b"Hello." not in notice


def test_sendmail_sends_with_and_without_a_server_and_mailq_lists(folder):
    data = folder + "/data"
    with Sink() as sink:
        route = ["--route", f"far.test=127.0.0.1:{sink.server_address[1]}"]
        with Server(data, *route) as server:
            links = {}
            for name in ("sendmail", "mailq"):
                links[name] = f"{folder}/{name}"
                os.symlink(os.path.abspath(program()[0]), links[name])
            environment = dict(os.environ, FASTMAIL_DATA=data)

            def call(name, *args, text=""):
                return subprocess.run([links[name], *args], input=text, capture_output=True, text=True, timeout=60, env=environment)

            text = f"To: x@far.test, Here <{USER}>\nBcc: secret@far.test\nSubject: t\n\n.dot\nlast\n"
            sent = call("sendmail", "-t", "-i", "-f", "me@local.test", text=text)
            assert (sent.returncode, sent.stdout, sent.stderr) == (0, "", ""), sent
            mail = sink.wait()
            assert {r for m in mail for r in m[1]} == {"x@far.test", "secret@far.test"} and mail[0][0] == "me@local.test", mail
            content = mail[0][2].replace(b"\r\n\t", b" ")
            assert b"secret" not in content.split(b"\r\n\r\n")[0].replace(b"for <secret@far.test>", b""), content
            assert content.endswith(b"\r\n\r\n.dot\r\nlast\r\n"), content
            assert re.search(rb"\r\nMessage-ID: <\w+@mx\.local\.test>\r\n", content) and b"\r\nFrom: me@local.test\r\n" in content
            assert content.startswith(b"Received: by mx.local.test id "), content
            assert b"\r\n.dot\r\nlast\r\n" in fetch_all(server, 1)[0]

            assert call("sendmail", "nobody@local.test", text="x\n").returncode == 67
            assert call("sendmail", text="x\n").returncode == 64
            assert call("sendmail", "-bs", text="").returncode == 64
            assert call("sendmail", "x@far.test", text="a\0b\n").returncode == 65
            assert call("mailq").stdout == "Mail queue is empty\n"

            # The hop count is sendmail's own, not our help; and an envelope of any length reaches the server.
            many = {f"recipient-{number:04}@far.test" for number in range(400)}
            assert call("sendmail", "-h", "17", *many, text="Subject: many\n\nx\n").stdout == ""
            deadline = time.monotonic() + 60
            while (reached := {r for m in list(sink.mail) for r in m[1]} & many) < many and time.monotonic() < deadline:
                time.sleep(0.05)
            assert reached == many, len(reached)

            server.stop()
            kept = call("sendmail", "-oi", "later@far.test", text="Subject: later\n\nx\n")
            assert kept.returncode == 0, kept
            listed = call("sendmail", "-bp").stdout
            assert listed == call("mailq").stdout
            assert re.search(r"^[0-9A-Z]{13}\*\s+\d+ \w{3} \w{3} \d\d \d\d:\d\d:\d\d  \w+@", listed, re.M), listed
            assert re.search(r"^\s+later@far\.test$", listed, re.M) and re.search(r"^-- \d+ Kbytes in 1 Request\.$", listed, re.M)
            before = len(sink.mail)
            server.start()
            assert sink.wait(before + 1)[-1][1] == ["later@far.test"]
