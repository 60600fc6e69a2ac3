"""The project's own load generator, which shares no code with the server, and its ledger."""

import itertools
import json
import os
import re
import subprocess

import mtas
import terminal
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


def test_progress_on_a_terminal_is_a_display_that_leaves_nothing_behind(folder):
    load = generator()
    sink = f"127.0.0.1:{mtas.free_port()}"
    with Server(folder + "/data", accounts=[USER, "soak@local.test"]) as server:
        target = ["--target", f"127.0.0.1:{server.ports['mx']}"]
        source = ["-n", "400", "--rate", "200", "--label", "here"]
        pop3 = f"127.0.0.1:{server.ports['pop3']}"
        for verb, options, drawn, left in (
                ("smtp", [*target, *source, "--to", USER], "here", "acked 400 of 400 messages"),
                ("pop3", ["--target", pop3, "--user", USER, "--do", "stat", "-d", "2", "--label", "here"], "here", "sessions "),
                ("soak", [*target, *source, "--to", "soak@local.test", "--pop3", pop3], "soak: here", "ledger: clean"),
                ("relay", ["--target", sink, "--sink", sink, *source], "relay: here", "ledger: clean"),
                ("sink", ["--listen", sink, "-d", "2"], "sink at ", "accepted 0 messages")):
            seen = terminal.run([load, verb, *options], {"FASTMAIL_LOAD_PASSWORD": PASSWORD})
            assert seen.code == 0, seen.said
            for what in (rf"╭─{drawn}", r"time +\d+ s", r"(messages|sessions) +\d+", r"rate +\d+ (messages|sessions)/s"):
                assert re.search(what, seen.said), (verb, what, seen.said)
            assert verb == "sink" or re.search(r"(latency|end to end) +p50 \d", seen.said), (verb, seen.said)
            assert seen.is_cursor_shown and seen.are_modes_kept, (verb, seen.said)
            assert any(line.startswith(left) for line in seen.screen), (verb, seen.screen)
            assert not re.search("[╭─│╰]", "".join(seen.screen)), (verb, seen.screen)
            assert verb != "soak" or "sent 400, collected 400; comparing" in seen.screen, seen.screen


def test_what_goes_wrong_is_said_above_the_display_and_stays(folder):
    load = generator()
    with Server(folder + "/data") as server:
        options = ["--target", f"127.0.0.1:{server.ports['mx']}", "--to", "nobody@local.test", "-n", "3", "-c", "1"]
        seen = terminal.run([load, "smtp", *options])
        plain = subprocess.run([load, "smtp", *options], capture_output=True, text=True, timeout=120)
    assert seen.code == plain.returncode == 1, (seen.said, plain)
    wrong = [line for line in plain.stderr.splitlines() if line.startswith("fastmail-load: RCPT TO:<nobody@local.test>: 550")]
    assert len(wrong) == 3 and "\x1b" not in plain.stderr, plain
    assert [line for line in seen.screen if line.startswith("fastmail-load: ")] == wrong, seen.screen


def test_progress_is_plain_lines_without_a_terminal_and_for_scripts(folder):
    load = generator()
    with Server(folder + "/data") as server:
        options = ["--target", f"127.0.0.1:{server.ports['mx']}", "--to", USER, "-n", "400", "--rate", "200"]
        plain = subprocess.run([load, "smtp", *options], capture_output=True, text=True, timeout=120)
        for_programs = terminal.run([load, "smtp", *options, "--json"])
        quiet = terminal.run([load, "smtp", *options, "--quiet"])
    line = r"^ +1 s +\d+ msg/s +\d+\.\d MB/s  acked \d+  refused 0  in doubt 0  lost connections 0$"
    assert re.search(line, plain.stderr, re.MULTILINE), plain
    assert any(re.search(line, shown) for shown in for_programs.screen), for_programs.said
    assert json.loads(for_programs.screen[-2])["acked"] == 400, for_programs.screen
    assert not any(re.search(line, shown) for shown in quiet.screen), quiet.said
    for seen in (for_programs, quiet):
        assert "╭" not in seen.said, seen.said
