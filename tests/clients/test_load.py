"""The project's own load generator, which shares no code with the server, and its ledger."""

import itertools
import json
import os
import subprocess

from server import PASSWORD, USER, Server, program
from skip import Skip
from test_tls import make_certificate

SOAK_TIME = os.environ.get("SOAK_TIME", "12s")


def generator():
    path = os.path.join(os.path.dirname(program()[0]), "../../../../../loadtest/FastMail.LoadTest/bin/Release/net10.0/fastmail-load")
    if not os.path.exists(path):
        raise Skip("fastmail-load is not built beside the server")
    return path


def test_what_the_generator_sent_is_what_the_maildrop_holds(folder):
    load = generator()
    with Server(folder + "/data") as server:
        for pipeline, *content in itertools.product(("none", "envelope", "full"), ("--8bit", "--bdat")):
            sent = subprocess.run(
                [load, "smtp", "--target", f"127.0.0.1:{server.ports['mx']}", "--connections", "20", "--messages", "2000",
                 "--size", "0..20000", "--to", USER, "--pipeline", pipeline, *content, "--seed", "7",
                 "--ledger", folder + "/ledger", "--json", "--quiet"],
                capture_output=True, text=True, timeout=120)
            assert sent.returncode == 0, sent
            assert json.loads(sent.stdout)["acked"] == 2000, sent.stdout
        checked = subprocess.run(
            [load, "pop3", "--target", f"127.0.0.1:{server.ports['pop3']}", "--user", USER, "--verify-ledger",
             folder + "/ledger", "--quiet"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
        assert checked.returncode == 0, checked


def test_a_whole_transaction_in_one_write_reaches_those_who_are_accepted(folder):
    load = generator()
    with Server(folder + "/data", accounts=["u0@local.test"]) as server:
        # Of u0, u1 and u2 two get each message: u0 alone is there, and a third of the messages is for nobody.
        sent = subprocess.run(
            [load, "smtp", "--target", f"127.0.0.1:{server.ports['mx']}", "-c", "5", "-n", "300", "--size", "0..20000",
             "--to", "u{n}@local.test", "--users", "3", "--recipients-per-message", "2", "--pipeline", "full", "--bdat",
             "--ledger", folder + "/ledger", "--json", "--quiet"],
            capture_output=True, text=True, timeout=120)
        result = json.loads(sent.stdout)
        assert (sent.returncode, result["acked"], result["refused"]) == (1, 200, 100), sent
        assert (result["recipientsRefused"], result["connectionsLost"]) == (400, 0), sent
        checked = subprocess.run(
            [load, "pop3", "--target", f"127.0.0.1:{server.ports['pop3']}", "--user", "u0@local.test", "--verify-ledger",
             folder + "/ledger", "--json", "--quiet"],
            capture_output=True, text=True, timeout=120, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
        ledger = json.loads(checked.stdout)["ledger"]
        assert checked.returncode == 0, checked
        assert (ledger["ackedAndStored"], ledger["notCollected"]) == (200, 0), ledger


def test_the_generator_sends_and_collects_over_starttls_and_implicit_tls(folder):
    load = generator()
    pem, key = make_certificate(folder, "mx.local.test")
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key) as server:
        def call(verb, role, *options):
            ran = subprocess.run(
                [load, verb, "--target", f"127.0.0.1:{server.ports[role]}", "--tls-name", "mx.local.test", "--json",
                 "--quiet", *options],
                capture_output=True, text=True, timeout=120, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
            assert ran.returncode == 0, ran
            return json.loads(ran.stdout)["tls"]

        trusted = ["--tls-ca", pem]
        sent = call("smtp", "mx", "--to", USER, "-n", "300", "-c", "10", "--size", "0..100K", "--pipeline", "full",
                    "--messages-per-connection", "10", "--tls", "starttls", "--ledger", folder + "/ledger", *trusted)
        assert sent["handshakes"] >= 30 and sent["resumed"] > 0, sent
        for role, start in (("pop3", "starttls"), ("pop3s", "implicit")):
            collected = call("pop3", role, "--user", USER, "--verify-ledger", folder + "/ledger", "--tls", start, *trusted)
            assert collected["handshakes"] == 1, collected
        again = call("pop3", "pop3s", "--user", USER, "--do", "stat", "-n", "20", "--tls", "implicit", "--tls-no-resume",
                     *trusted)
        assert again["handshakes"] == 20 and again["resumed"] == 0, again


def test_a_soak_with_kills_ends_with_a_clean_ledger(folder):
    load = generator()
    with Server(folder + "/data", accounts=["u0@local.test", "u1@local.test", "u2@local.test"]) as server:
        # On the ports of the first start, so that the generator finds it again.
        for role in ("mx", "pop3"):
            server.options += [f"--{role}", f"127.0.0.1:{server.ports[role]}"]
        soak = subprocess.Popen(
            [load, "soak", "--target", f"127.0.0.1:{server.ports['mx']}", "--pop3", f"127.0.0.1:{server.ports['pop3']}",
             "--to", "u{n}@local.test", "--users", "3", "--connections", "10", "--size", "0..200K", "--8bit", "--rate",
             "400", "--messages-per-connection", "50", "--duration", SOAK_TIME, "--ledger", folder + "/ledger",
             "--json", "--quiet"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, "FASTMAIL_LOAD_PASSWORD": PASSWORD})
        while soak.poll() is None:
            try:
                soak.wait(3)
            except subprocess.TimeoutExpired:
                server.kill()
                server.start()
        result = json.loads(soak.stdout.read())
        assert soak.returncode == 0, {key: result[key] for key in ("ledger", "uncollected", "unknown")}
        assert result["ledger"]["ackedAndStored"] > 1000, result["ledger"]
        assert result["source"]["connectionsLost"] > 0, "no kill hit a connection"
        print(f"        {result['collected']} collected, {result['source']['connectionsLost']} connections and "
              f"{result['failedSessions']} sessions lost, ledger clean", flush=True)
