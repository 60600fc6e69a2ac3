"""LMTP as Python's own client speaks it, and the header fields that a submission gets."""

import smtplib

from maildrop import content_of, open_maildrop, retrieve
from server import PASSWORD, USER, Server

OTHER = "v@local.test"


def test_smtplib_delivers_over_LMTP_and_hears_of_each_recipient(folder):
    content = b"Subject: lmtp\r\n\r\n.dot\r\n"
    with Server(folder + "/data", "--lmtp", "127.0.0.1:0", accounts=(USER, OTHER)) as server:
        with smtplib.LMTP("127.0.0.1", server.ports["lmtp"], timeout=30) as lmtp:
            code, _ = lmtp.docmd("EHLO", "c.test")
            assert code == 500
            refused = lmtp.sendmail("a@example.com", [USER, OTHER, "nobody@local.test"], content)
            assert list(refused) == ["nobody@local.test"] and refused["nobody@local.test"][0] == 550, refused
            # sendmail reads one reply; the second recipient's is still on its way.
            assert lmtp.getreply()[0] == 250
            assert lmtp.noop()[0] == 250
        pop = open_maildrop(server)
        message = retrieve(pop, 1)[0]
        assert content_of(message) == content
        assert b" with LMTP id " in message.replace(b"\r\n\t", b" "), message
        pop.quit()


def test_LMTP_is_not_spoken_on_port_25(folder):
    from server import run
    result = run("serve", "--data", folder + "/data", "--lmtp", "127.0.0.1:25")
    assert result.returncode == 64 and "port 25" in result.stderr, (result.returncode, result.stderr)


def test_a_submission_without_Date_and_Message_ID_gets_them(folder):
    with Server(folder + "/data") as server:
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=30) as smtp:
            smtp.login(USER, PASSWORD)
            smtp.sendmail(USER, [USER], b"Subject: bare\r\n\r\nx\r\n")
        pop = open_maildrop(server)
        head = retrieve(pop, 1)[0].split(b"\r\n\r\n")[0]
        assert head.count(b"\r\nDate: ") == 1 and head.count(b"\r\nMessage-ID: <") == 1, head
        pop.quit()
