"""The command-line clients people have: curl, swaks, msmtp, mpop."""

import os
import subprocess

from server import PASSWORD, USER, Server
from skip import needs
from test_python import fetch

MESSAGE = "From: a@example.com\r\nTo: u@local.test\r\nSubject: from a tool\r\n\r\n.leading dot\r\nna\u00efve\r\n"


def call(*args, stdin=""):
    result = subprocess.run(args, input=stdin.encode(), capture_output=True, timeout=60)
    assert result.returncode == 0, (args, result.returncode, result.stdout[-2000:], result.stderr[-2000:])
    return result.stdout


def test_curl_sends_and_fetches(folder):
    needs("curl")
    with Server(folder + "/data") as server:
        call("curl", "-sS", f"smtp://127.0.0.1:{server.ports['mx']}", "--mail-from", "a@example.com",
             "--mail-rcpt", USER, "-T", "-", stdin=MESSAGE)
        call("curl", "-sS", f"smtp://127.0.0.1:{server.ports['submission']}", "--user", f"{USER}:{PASSWORD}",
             "--mail-from", USER, "--mail-rcpt", USER, "-T", "-", stdin=MESSAGE)
        for number in (1, 2):
            got = call("curl", "-sS", "--user", f"{USER}:{PASSWORD}", f"pop3://127.0.0.1:{server.ports['pop3']}/{number}")
            assert got.endswith(MESSAGE.encode()), got
        listing = call("curl", "-sS", "--user", f"{USER}:{PASSWORD}", f"pop3://127.0.0.1:{server.ports['pop3']}/")
        assert len(listing.split(b"\r\n")) >= 2, listing


def test_swaks_sends_with_and_without_login(folder):
    needs("swaks")
    with Server(folder + "/data") as server:
        call("swaks", "--server", f"127.0.0.1:{server.ports['mx']}", "--from", "a@example.com", "--to", USER,
             "--h-Subject", "swaks one", "--pipeline")
        for mechanism in ("PLAIN", "LOGIN"):
            call("swaks", "--server", f"127.0.0.1:{server.ports['submission']}", "--from", USER, "--to", USER,
                 "--auth", mechanism, "--auth-user", USER, "--auth-password", PASSWORD)
        assert b"Subject: swaks one" in fetch(server, 1)
        assert b"with ESMTPA" in fetch(server, 3)


def test_msmtp_submits_and_mpop_collects(folder):
    needs("msmtp", "mpop")
    with Server(folder + "/data") as server:
        for n in range(5):
            call("msmtp", "--host=127.0.0.1", f"--port={server.ports['submission']}", "--auth=plain", f"--user={USER}",
                 f"--passwordeval=echo '{PASSWORD}'", "--tls=off", f"--from={USER}", USER,
                 stdin=MESSAGE.replace("from a tool", f"number {n}"))
        os.makedirs(folder + "/box/new")
        os.makedirs(folder + "/box/cur")
        os.makedirs(folder + "/box/tmp")
        call("mpop", "--host=127.0.0.1", f"--port={server.ports['pop3']}", "--auth=user", f"--user={USER}",
             f"--passwordeval=echo '{PASSWORD}'", "--tls=off", f"--uidls-file={folder}/uidls",
             f"--delivery=maildir,{folder}/box", "--keep=off", "--received-header=off")
        files = os.listdir(folder + "/box/new")
        assert len(files) == 5, files
        bodies = set()
        for name in files:
            with open(f"{folder}/box/new/{name}", "rb") as f:
                bodies.add(f.read().replace(b"\r\n", b"\n").split(b"Subject: ", 1)[1])
        expected = MESSAGE.encode().replace(b"\r\n", b"\n").split(b"Subject: ", 1)[1]
        assert bodies == {expected.replace(b"from a tool", b"number %d" % n) for n in range(5)}, bodies
        stat = call("curl", "-sS", "--user", f"{USER}:{PASSWORD}", f"pop3://127.0.0.1:{server.ports['pop3']}/")
        assert stat.strip() == b"", stat  # all were removed
