"""Mail that its sender wants to go later (RFC 4865): to a maildrop here and to a next hop, over kill -9."""

import datetime
import smtplib
import time

from server import PASSWORD, USER, Server
from test_queue import Sink, entries, fetch_all, queue, submit

VERA = "v@local.test"


def count_of(server, user):
    return len(fetch_all(server, 0, user))


def test_held_mail_goes_at_its_time_although_the_server_was_killed(folder):
    with Sink() as sink, Server(folder + "/data", "--route", f"relay.test=127.0.0.1:{sink.server_address[1]}",
                                accounts=(USER, VERA)) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=30) as smtp:
            smtp.ehlo()
            seconds, date = smtp.esmtp_features["futurerelease"].split()
            assert seconds == str(30 * 86400), seconds
            latest = datetime.datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
            left = (latest - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
            assert 30 * 86400 - 60 < left <= 30 * 86400, date
            smtp.login(USER, PASSWORD)
            began = time.time()
            refused = smtp.sendmail(USER, [VERA, "b@relay.test"], "Subject: in a while\r\n\r\nhello\r\n", mail_options=["HOLDFOR=6"])
            assert not refused, refused
        server.kill()
        server.start()
        waiting = entries(server)
        assert sorted(entry["to"] for entry in waiting) == ["b@relay.test", VERA], waiting
        for entry in waiting:
            due = datetime.datetime.fromisoformat(entry["due"]).timestamp()
            assert began + 5.9 <= due <= began + 8, (began, entry)
        assert count_of(server, VERA) == 0 and not sink.mail
        server.kill()
        server.start()
        fetch_all(server, 1, VERA)
        sink.wait(1)
        assert time.time() >= began + 5.9, time.time() - began
        assert sink.mail[0][1] == ["b@relay.test"], sink.mail
        assert entries(server) == []


def test_a_date_is_kept_and_the_operator_may_release_it(folder):
    with Sink() as sink, Server(folder + "/data", "--route", f"relay.test=127.0.0.1:{sink.server_address[1]}",
                                accounts=(USER, VERA)) as server:
        until = (datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
                 + datetime.timedelta(hours=2)).isoformat(timespec="seconds")
        name = submit(server, [VERA, "b@relay.test"], options=[f"HOLDUNTIL={until}"])
        told = queue(server, "explain", name)
        assert told.count("held back until then") == 1 and "to go at" in told and "is held back by its sender" in told, told
        assert "2 are held" in queue(server, "retry", "--all")
        server.stop()
        assert len(entries(server)) == 2  # without a server too
        assert queue(server, "release", name).startswith("2 recipients released")
        server.start()
        fetch_all(server, 1, VERA)
        sink.wait(1)
