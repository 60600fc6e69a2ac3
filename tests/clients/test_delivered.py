"""Senders who want to hear that their mail has arrived in a maildrop here (RFC 3461, NOTIFY=SUCCESS)."""

import email
import os
import smtplib
import subprocess

import notification
from server import USER, Server, program, run
from test_queue import entries, fetch_all, submit

VERA, WALT = "v@local.test", "w@local.test"


def count_of(server, user):
    return len(fetch_all(server, 0, user))


def recipients_of(notice):
    """The one block about the message, and those about the recipients, of a notification that is in order."""
    assert notification.problems(notice) == [], (notification.problems(notice), notice)
    return notification.blocks(email.message_from_bytes(notice).get_payload()[1])


def test_the_sender_hears_once_of_what_was_delivered_and_only_if_it_asked(folder):
    with Server(folder + "/data", accounts=(USER, VERA, WALT)) as server:
        for options in (["NOTIFY=NEVER"], ["NOTIFY=FAILURE"], ["NOTIFY=FAILURE,DELAY"], []):
            submit(server, [VERA], rcpt_options=options)
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:  # a notification: nobody is told of it
            refused = smtp.sendmail("", [VERA], "Subject: n\r\n\r\nx\r\n", rcpt_options=["NOTIFY=SUCCESS"])
            assert not refused, refused
        assert count_of(server, VERA) == 5 and count_of(server, USER) == 0 and entries(server) == []
        submit(server, [VERA], options=["RET=FULL", "ENVID=QQ+2B1"],
               rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;Vera+40far.test"])
        notice, = fetch_all(server, 1)
        about, (fields,) = recipients_of(notice)
        assert about["Original-Envelope-Id"] == "QQ+1", about.as_string()
        assert fields["Action"] == "delivered" and fields["Status"] == "2.1.5", fields.as_string()
        assert fields["Final-Recipient"] == f"rfc822; {VERA}" and fields["Original-Recipient"] == "rfc822; Vera@far.test"
        assert b"Return-Path: <>\r\n" in notice and b"text/rfc822-headers" in notice and b"Hello." not in notice
        assert count_of(server, VERA) == 6
        server.kill()
        server.start()
        assert count_of(server, USER) == 1 and count_of(server, VERA) == 6 and entries(server) == []


def test_an_alias_is_one_address_and_sendmail_may_ask_too(folder):
    with Server(folder + "/data", accounts=(USER, VERA, WALT)) as server:
        added = run("alias", "add", "both@local.test", VERA, WALT, "--data", server.data)
        assert added.returncode == 0, added
        submit(server, ["both@local.test"], rcpt_options=["NOTIFY=SUCCESS"])
        about, (fields,) = recipients_of(fetch_all(server, 1)[0])
        assert fields["Final-Recipient"] == "rfc822; both@local.test" and fields["Action"] == "delivered", fields.as_string()
        assert (count_of(server, USER), count_of(server, VERA), count_of(server, WALT)) == (1, 1, 1)
        os.symlink(os.path.abspath(program()[0]), folder + "/sendmail")
        sent = subprocess.run([folder + "/sendmail", "-N", "success", "-f", USER, VERA], input="Subject: s\n\nx\n",
                              capture_output=True, text=True, timeout=60, env=dict(os.environ, FASTMAIL_DATA=server.data))
        assert sent.returncode == 0, sent
        about, (fields,) = recipients_of(fetch_all(server, 2)[1])
        assert fields["Final-Recipient"] == f"rfc822; {VERA}" and fields["Action"] == "delivered", fields.as_string()
        assert (count_of(server, USER), count_of(server, VERA), count_of(server, WALT)) == (2, 2, 1)
