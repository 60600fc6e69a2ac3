"""SASL as clients speak it: smtplib, a SCRAM client of our own and msmtp; and what guessing gets."""

import base64
import hashlib
import hmac
import os
import poplib
import smtplib
import ssl
import subprocess
import time

from server import PASSWORD, USER, Server, add_account, run
from skip import Skip, needs
from test_tls import make_certificate, trusting


class ScramClient:
    """
    The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677); with the octets of tls-server-end-point (RFC 5929 4) that
    of SCRAM-SHA-256-PLUS.
    """

    def __init__(self, user, password, end_point=None):
        self.mechanism = "SCRAM-SHA-256" + ("" if end_point is None else "-PLUS")
        self.header = "n,," if end_point is None else "p=tls-server-end-point,,"
        self.binding = base64.b64encode(self.header.encode() + (end_point or b"")).decode()
        self.password = password.encode()
        self.bare = f"n={user.replace('=', '=3D').replace(',', '=2C')},r={base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return self.header + self.bare

    def final(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        without_proof = f"c={self.binding},r={fields['r']}"
        message = ",".join([self.bare, challenge, without_proof]).encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return f"{without_proof},p={base64.b64encode(proof).decode()}"

    def is_server(self, last):
        return last == "v=" + base64.b64encode(self.signature).decode()

    def over_smtp(self, smtp):
        """Goes through AUTH; returns the last code. smtplib's own loop ends before the server has proved itself."""
        code, reply = smtp.docmd("AUTH", f"{self.mechanism} {encode(self.first())}")
        assert code == 334, (code, reply)
        if not decode(reply).startswith("e="):  # refused before there is anything to prove
            code, reply = smtp.docmd(encode(self.final(decode(reply))))
        if code == 334:
            self.said = decode(reply)
            code, _ = smtp.docmd("")
        return code

    def over_pop(self, pop):
        challenge = pop._shortcmd(f"AUTH {self.mechanism} {encode(self.first())}")
        final = pop._shortcmd(encode(self.final(decode(challenge[2:]))))
        assert self.is_server(decode(final[2:])), final
        return pop._shortcmd("")


def encode(text):
    return base64.b64encode(text.encode()).decode()


def decode(octets):
    return base64.b64decode(octets).decode()


def submission(server):
    smtp = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60)
    smtp.ehlo("client.test")
    return smtp


def test_scram_logs_in_over_smtp_and_pop3(folder):
    with Server(folder + "/data") as server:
        with submission(server) as smtp:
            assert "SCRAM-SHA-256" in smtp.esmtp_features["auth"].split()
            client = ScramClient(USER, PASSWORD)
            assert client.over_smtp(smtp) == 235
            assert client.is_server(client.said)
            smtp.sendmail(USER, [USER], "Subject: scram\r\n\r\nx\r\n")
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
        assert pop.capa()["SASL"] == ["PLAIN", "LOGIN", "SCRAM-SHA-256"], pop.capa()
        assert ScramClient(USER, PASSWORD).over_pop(pop).startswith(b"+OK")
        assert pop.stat()[0] == 1
        pop.quit()


def test_scram_tells_an_unknown_user_and_a_wrong_password_the_same(folder):
    with Server(folder + "/data") as server:
        heard = []
        for user, password in ((USER, "wrong"), ("nobody@local.test", PASSWORD)):
            with submission(server) as smtp:
                client = ScramClient(user, password)
                assert client.over_smtp(smtp) == 535
                heard.append(client.said)
                salts = []
                for _ in range(2):  # the salt of a name is the same each time
                    _, reply = smtp.docmd("AUTH", "SCRAM-SHA-256 " + encode(f"n,,n={user},r=abcdef"))
                    salts.append(decode(reply).split(",")[1:])
                    assert smtp.docmd("*")[0] == 501
                assert salts[0] == salts[1], salts
        assert heard == ["e=invalid-proof"] * 2, heard


def test_a_new_password_counts_for_scram_at_once(folder):
    with Server(folder + "/data") as server:
        changed = run("account", "passwd", USER, "--password-stdin", "--data", server.data, stdin="other\n")
        assert changed.returncode == 0, changed.stderr
        with submission(server) as smtp:
            assert ScramClient(USER, PASSWORD).over_smtp(smtp) == 535
            assert ScramClient(USER, "other").over_smtp(smtp) == 235


def test_a_session_does_not_outlive_its_login(folder):
    """Once the account has another password, is gone or made anew, the session that is open sends nothing more."""
    other = "other@local.test"
    with Server(folder + "/data") as server:
        add_account(server.data, other)

        def logged_in(user, password):
            smtp = submission(server)
            assert smtp.login(user, password)[0] == 235
            assert smtp.mail(user)[0] == 250 and smtp.rset()[0] == 250
            return smtp

        def change(verb, password):
            words = ["account", verb, other, "--data", server.data]
            done = run(*words, "--password-stdin", stdin=password + "\n") if password else run(*words)
            assert done.returncode == 0, done.stderr

        stays = logged_in(USER, PASSWORD)
        password = PASSWORD
        for changes in ([("passwd", "second")], [("remove", None), ("add", "second")], [("remove", None)]):
            stale = logged_in(other, password)
            password = "second"
            for verb, text in changes:
                change(verb, text)
            assert stale.mail("")[0] == 421, changes  # the null reverse-path is nobody's: no other rule refuses it
        assert stays.mail(USER)[0] == 250


def test_guessing_is_slowed_down_and_the_owner_elsewhere_is_not(folder):
    with Server(folder + "/data", "--set", "auth.failure_delay=300ms", "--set", "auth.pair_failures=3",
                exempt="127.0.0.2") as server:
        with submission(server) as smtp:
            for n in range(1, 4):
                began = time.monotonic()
                assert smtp.docmd("AUTH", "PLAIN " + encode(f"\0{USER}\0wrong"))[0] == 535
                assert time.monotonic() - began >= 0.3 * n  # a timer never fires early
            assert smtp.docmd("AUTH", "PLAIN " + encode(f"\0{USER}\0{PASSWORD}"))[0] == 454
        owner = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60, source_address=("127.0.0.3", 0))
        owner.ehlo()
        assert owner.docmd("AUTH", "PLAIN " + encode(f"\0{USER}\0{PASSWORD}"))[0] == 235
        owner.quit()


def test_scram_plus_is_bound_to_the_certificate_of_the_channel(folder):
    pem, key = make_certificate(folder, "mx.local.test")
    with open(pem, encoding="ascii") as file:
        certificate = ssl.PEM_cert_to_DER_cert(file.read())
    bound = hashlib.sha256(certificate).digest()  # as it is signed with SHA-256
    trusted = trusting(pem)
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key) as server:
        def over_smtp(client, starttls):
            if starttls:
                smtp = smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=60)
                smtp.starttls(context=trusted)
            else:
                smtp = smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], timeout=60, context=trusted)
            with smtp:
                assert smtp.sock.getpeercert(binary_form=True) == certificate
                smtp.ehlo()
                assert {"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"} <= set(smtp.esmtp_features["auth"].split())
                return client.over_smtp(smtp)

        for starttls in (True, False):
            client = ScramClient(USER, PASSWORD, bound)
            assert over_smtp(client, starttls) == 235
            assert client.is_server(client.said)
            # Who sits in between shows another certificate, whose hash the client then proves with its password.
            client = ScramClient(USER, PASSWORD, hashlib.sha256(b"another").digest())
            assert over_smtp(client, starttls) == 535
            assert client.said == "e=channel-bindings-dont-match", client.said
        # A client that could bind but was not offered it says so, and has been deceived.
        client = ScramClient(USER, PASSWORD)
        client.header, client.binding = "y,,", encode("y,,")
        assert over_smtp(client, False) == 535 and "channel-binding" in client.said, client.said
        assert over_smtp(ScramClient(USER, PASSWORD), False) == 235  # one that knows nothing of it is welcome
        with submission(server) as smtp:  # in the clear there is nothing to bind to
            assert "SCRAM-SHA-256-PLUS" not in smtp.esmtp_features["auth"].split()
            assert smtp.docmd("AUTH", "SCRAM-SHA-256-PLUS " + encode("p=tls-server-end-point,,n=u,r=abcdef"))[0] == 504

        pops = [poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], timeout=60, context=trusted),
                poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)]
        pops[1].stls(context=trusted)
        for pop in pops:
            assert "SCRAM-SHA-256-PLUS" in pop.capa()["SASL"]
            assert ScramClient(USER, PASSWORD, bound).over_pop(pop).startswith(b"+OK")
            pop.quit()


def test_msmtp_speaks_scram(folder):
    needs("msmtp")
    features = subprocess.run(["msmtp", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    if "scram-sha-256" not in features.lower():
        raise Skip("this msmtp is built without SCRAM-SHA-256")
    pem, key = make_certificate(folder, "mx.local.test")
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key) as server:
        kinds = [("scram-sha-256", "off"), ("scram-sha-256", "on")]
        kinds += [("scram-sha-256-plus", "on")] if "scram-sha-256-plus" in features.lower() else []
        for mechanism, tls in kinds:
            result = subprocess.run(
                ["msmtp", "--host=127.0.0.1", f"--port={server.ports['submission']}", f"--auth={mechanism}",
                 f"--user={USER}", f"--passwordeval=echo '{PASSWORD}'", f"--tls={tls}", "--tls-starttls=on",
                 f"--tls-trust-file={pem}", f"--from={USER}", USER],
                input="Subject: msmtp\n\nx\n", capture_output=True, text=True, timeout=60)
            assert result.returncode == 0, (mechanism, tls, result.stderr)
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
        pop.user(USER)
        pop.pass_(PASSWORD)
        assert pop.stat()[0] == len(kinds)
        pop.quit()


def test_thunderbird_logs_in_without_an_initial_response(folder):
    with Server(folder + "/data") as server:
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
        assert pop._shortcmd("AUTH PLAIN") == b"+ "
        assert pop._shortcmd(encode(f"\0{USER}\0{PASSWORD}")).startswith(b"+OK")
        pop.quit()


def test_aliases_catch_all_and_tags_deliver_and_senders_are_ones_own(folder):
    other = "v@local.test"
    with Server(folder + "/data", accounts=(USER, other)) as server:
        def fastmail(*args, code=0):
            result = run(*args, "--data", server.data)
            assert result.returncode == code, (args, result)
            return result.stdout + result.stderr

        fastmail("alias", "add", "sales@Local.Test", USER, other)
        fastmail("alias", "add", "@shop.test", "sales@local.test")
        assert "is on another server" in fastmail("alias", "add", "out@local.test", "x@elsewhere.test", code=65)
        assert "loop: sales@local.test -> a@local.test -> sales@local.test" in (
            fastmail("alias", "add", "a@local.test", "sales@local.test")
            + fastmail("alias", "add", "sales@local.test", "a@local.test", code=65))
        assert "there is an alias" in fastmail("account", "add", "sales@local.test", code=73)
        assert "is an account" in fastmail("alias", "add", USER, other, code=73)
        fastmail("domain", "add", "Bücher.test")
        assert fastmail("domain", "list").split() == ["local.test", "shop.test", "xn--bcher-kva.test"]

        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=60) as smtp:
            smtp.ehlo()
            smtp.mail("s@example.com")
            for recipient, code in ((f"u+tag@local.test", 250), ("anything@shop.test", 250), ('"u"@LOCAL.TEST', 250),
                                    ("postmaster@xn--bcher-kva.test", 250), ("x@xn--bcher-kva.test", 550),
                                    ("postmaster@[127.0.0.1]", 250), ("u@[127.0.0.1]", 550), ("nobody@local.test", 550),
                                    ("<@elsewhere.test:v@local.test>", 250), ("u%local.test@elsewhere.test", 550)):
                got = smtp.rcpt(recipient)
                assert got[0] == code, (recipient, got)
            assert smtp.data("Subject: to all\r\n\r\nx\r\n")[0] == 250
        for user in (USER, other):
            pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
            pop.user(user)
            pop.pass_(PASSWORD)
            assert pop.stat()[0] == 1, user  # one message once, however often it names the mailbox
            pop.quit()

        with submission(server) as smtp:
            smtp.login(USER, PASSWORD)
            for sender, code in ((USER, 250), ("u+list@local.test", 250), ("sales@local.test", 250), ("", 250),
                                 (other, 553), ("x@elsewhere.test", 553)):
                got = smtp.mail(sender)
                assert got[0] == code, (sender, got)
                smtp.rset()
            fastmail("account", "may-send-as", USER, "@elsewhere.test")
            assert smtp.mail("x@elsewhere.test")[0] == 250


def test_a_login_with_an_old_hash_makes_a_scram_verifier(folder):
    import sqlite3
    add_account(folder + "/data")
    store = sqlite3.connect(folder + "/data/accounts.db")
    store.execute("UPDATE accounts SET scram = NULL")
    store.commit()
    with Server(folder + "/data", accounts=()) as server:
        with submission(server) as smtp:
            assert ScramClient(USER, PASSWORD).over_smtp(smtp) == 535  # nothing to prove it against yet
            smtp.login(USER, PASSWORD)
        end = time.monotonic() + 30
        while store.execute("SELECT scram FROM accounts").fetchone()[0] is None:
            assert time.monotonic() < end, "no verifier was made"
            time.sleep(0.05)
        with submission(server) as smtp:
            while ScramClient(USER, PASSWORD).over_smtp(smtp) != 235:  # the server reads it right after storing it
                assert time.monotonic() < end
    store.close()


def test_a_bearer_token_logs_in_at_an_introspection_endpoint(folder):
    import http.server
    import json
    import threading
    import urllib.parse

    class Endpoint(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer = json.dumps({"active": form["token"] == ["good"], "email": USER}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    try:
        with Server(folder + "/data", "--set",
                    f"auth.introspection=http://127.0.0.1:{endpoint.server_port}/introspect") as server:
            with submission(server) as smtp:
                assert smtp.docmd("AUTH", "OAUTHBEARER " + encode("n,,\1auth=Bearer bad\1\1"))[0] == 334
                assert smtp.docmd("AQ==")[0] == 535
                other = encode(f"n,a=v@local.test,\1auth=Bearer good\1\1")  # somebody else's good token
                assert smtp.docmd("AUTH", "OAUTHBEARER " + other)[0] == 334
                assert smtp.docmd("AQ==")[0] == 535
                assert smtp.docmd("AUTH", "OAUTHBEARER " + encode("n,,\1auth=Bearer good\1\1"))[0] == 235
                assert smtp.mail(USER)[0] == 250
            pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
            assert pop._shortcmd("AUTH XOAUTH2 " + encode(f"user={USER}\1auth=Bearer good\1\1")).startswith(b"+OK")
            pop.quit()
    finally:
        endpoint.shutdown()
