"""The project's own load generator, which shares no code with the server, and its ledger."""

import json
import os
import subprocess

from server import PASSWORD, USER, Server, program
from skip import Skip


def generator():
    path = os.path.join(os.path.dirname(program()[0]), "../../../../../loadtest/FastMail.LoadTest/bin/Release/net10.0/fastmail-load")
    if not os.path.exists(path):
        raise Skip("fastmail-load is not built beside the server")
    return path


def test_what_the_generator_sent_is_what_the_maildrop_holds(folder):
    load = generator()
    with Server(folder + "/data") as server:
        for pipeline in ("none", "envelope", "full"):
            sent = subprocess.run(
                [load, "smtp", "--target", f"127.0.0.1:{server.ports['mx']}", "--connections", "20", "--messages", "2000",
                 "--size", "0..20000", "--to", USER, "--pipeline", pipeline, "--8bit", "--seed", "7",
                 "--ledger", folder + "/ledger", "--json", "--quiet"],
                capture_output=True, text=True, timeout=120)
            assert sent.returncode == 0, sent
            assert json.loads(sent.stdout)["acked"] == 2000, sent.stdout
        checked = subprocess.run(
            [load, "pop3", "--target", f"127.0.0.1:{server.ports['pop3']}", "--user", USER, "--verify-ledger",
             folder + "/ledger", "--quiet"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
        assert checked.returncode == 0, checked
