"""TLS with real clients: smtplib, poplib, curl, openssl, swaks, msmtp, mpop; and what must not work."""

import os
import poplib
import signal
import smtplib
import socket
import ssl
import subprocess
import time

from server import PASSWORD, USER, NotReady, Server, dialog, run
from skip import needs
from test_tools import MESSAGE, call


def make_certificate(folder, name, algorithm="ec", days=365):
    """A self-signed pair NAME.pem, NAME.key for the host NAME; returns the two paths."""
    needs("openssl")
    kinds = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "rsa": ["-newkey", "rsa:2048"],
             "ed25519": ["-newkey", "ed25519"]}
    pem, key = f"{folder}/{name}.pem", f"{folder}/{name}.key"
    subprocess.run(["openssl", "req", "-x509", *kinds[algorithm], "-nodes", "-keyout", key, "-out", pem, "-days", str(days),
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"],
                   check=True, capture_output=True)
    return pem, key


def trusting(*pems, **more):
    context = ssl.create_default_context()
    for pem in pems:
        context.load_verify_locations(pem)
    for name, value in more.items():
        setattr(context, name, value)
    return context


def handshake(port, context, name=None):
    """The subject of the certificate that the server shows, after a full handshake."""
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        with context.wrap_socket(s, server_hostname=name or "127.0.0.1") as tls:
            return dict(part[0] for part in tls.getpeercert()["subject"])["commonName"]


def test_smtplib_and_poplib_over_starttls_and_implicit_tls(folder):
    pem, key = make_certificate(folder, "mx.local.test")
    trusted = trusting(pem)
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key) as server:
        with smtplib.SMTP("127.0.0.1", server.ports["mx"], timeout=30) as smtp:
            assert smtp.ehlo()[0] == 250 and smtp.has_extn("starttls") and not smtp.has_extn("auth")
            assert smtp.starttls(context=trusted)[0] == 220
            smtp.ehlo()
            assert not smtp.has_extn("starttls")
            smtp.sendmail("a@example.com", [USER], "Subject: over starttls\r\n\r\nx\r\n")
        with smtplib.SMTP("127.0.0.1", server.ports["submission"], timeout=30) as smtp:
            smtp.starttls(context=trusted)
            smtp.login(USER, PASSWORD)
            smtp.sendmail(USER, [USER], "Subject: submitted\r\n\r\nx\r\n")
        with smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], timeout=30, context=trusted) as smtp:
            assert smtp.mail(USER)[0] == 503
            smtp.login(USER, PASSWORD)
            smtp.sendmail(USER, [USER], "Subject: implicit\r\n\r\n" + "x" * 70 + "\r\n" * 100_000)
        implicit = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], timeout=30, context=trusted)
        explicit = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=30)
        assert b"STLS" in explicit.capa() or "STLS" in explicit.capa()
        explicit.stls(context=trusted)
        assert "STLS" not in explicit.capa()
        contents = []
        for pop in (implicit, explicit):
            pop.user(USER)
            pop.pass_(PASSWORD)
            contents.append([pop.retr(n)[1:] for n in (1, 2, 3)])
            pop.quit()
        assert contents[0] == contents[1]
        for (lines, octets), keyword in zip(contents[0], (b"with ESMTPS id", b"with ESMTPSA id", b"with ESMTPSA id")):
            text = b"".join(line + b"\r\n" for line in lines)
            assert len(text) == octets
            assert keyword in text and b"\r\n\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n" in text, text[:500]
        server.stop()
        dump = run("log", "dump", "--data", server.data).stdout
        assert "tls=TLSv1.3" in dump, dump[-2000:]


def test_curl_swaks_msmtp_and_mpop_over_tls(folder):
    needs("curl", "swaks", "msmtp", "mpop")
    pem, key = make_certificate(folder, "mx.local.test", "rsa")
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key) as server:
        ports = server.ports
        login = ["--cacert", pem, "--user", f"{USER}:{PASSWORD}"]
        call("curl", "-sS", "--ssl-reqd", "--cacert", pem, f"smtp://127.0.0.1:{ports['mx']}", "--mail-from", "a@example.com",
             "--mail-rcpt", USER, "-T", "-", stdin=MESSAGE)
        call("curl", "-sS", *login, f"smtps://127.0.0.1:{ports['submissions']}", "--mail-from", USER, "--mail-rcpt", USER,
             "-T", "-", stdin=MESSAGE)
        call("swaks", "--server", f"127.0.0.1:{ports['submission']}", "-tls", "--tls-ca-path", pem, "--from", USER,
             "--to", USER, "--auth", "PLAIN", "--auth-user", USER, "--auth-password", PASSWORD)
        call("swaks", "--server", f"127.0.0.1:{ports['submissions']}", "--tls-on-connect", "--from", USER,
             "--to", USER, "--auth", "LOGIN", "--auth-user", USER, "--auth-password", PASSWORD)
        for port, starttls in ((ports["submission"], "on"), (ports["submissions"], "off")):
            call("msmtp", "--host=127.0.0.1", f"--port={port}", "--auth=plain", f"--user={USER}",
                 f"--passwordeval=echo '{PASSWORD}'", "--tls=on", f"--tls-starttls={starttls}", f"--tls-trust-file={pem}",
                 f"--from={USER}", USER, stdin=MESSAGE)
        for scheme, role, more in (("pop3s", "pop3s", []), ("pop3", "pop3", ["--ssl-reqd"])):
            got = call("curl", "-sS", *login, *more, f"{scheme}://127.0.0.1:{ports[role]}/1")
            assert got.endswith(MESSAGE.encode()), got
        for part in ("new", "cur", "tmp"):
            os.makedirs(f"{folder}/box/{part}")
        for role, starttls, keep in (("pop3", "on", "on"), ("pop3s", "off", "off")):
            call("mpop", "--host=127.0.0.1", f"--port={ports[role]}", "--auth=user", f"--user={USER}",
                 f"--passwordeval=echo '{PASSWORD}'", "--tls=on", f"--tls-starttls={starttls}", f"--tls-trust-file={pem}",
                 f"--uidls-file={folder}/uidls-{role}", f"--delivery=maildir,{folder}/box", f"--keep={keep}")
        assert len(os.listdir(folder + "/box/new")) == 12, os.listdir(folder + "/box/new")


def test_a_server_without_a_certificate_makes_one_and_keeps_it(folder):
    with Server(folder + "/data") as server:
        path = server.data + "/self-signed.pem"
        assert "self-signed" in server.log() and path in server.log(), server.log()
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path, encoding="ascii") as f:
            first = f.read()
        assert handshake(server.ports["pop3s"], trusting(path)) == "mx.local.test"
        assert handshake(server.ports["pop3s"], trusting(path), "localhost") == "mx.local.test"
        server.stop()
        server.start()
        with open(path, encoding="ascii") as f:
            assert f.read() == first


def test_a_certificate_that_cannot_be_used_is_told_and_exits_78(folder):
    pem, key = make_certificate(folder, "one.test")
    other_pem, other_key = make_certificate(folder, "two.test")
    edwards_pem, edwards_key = make_certificate(folder, "three.test", "ed25519")
    with open(folder + "/text", "w", encoding="ascii") as f:
        f.write("no certificate\n")
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:x", "-out", folder + "/locked"], check=True,
                   capture_output=True)
    for options, told in (
            (["--tls-cert", folder + "/absent", "--tls-key", key], "absent"),
            (["--tls-cert", pem, "--tls-key", folder + "/absent"], "cannot read the private key"),
            (["--tls-cert", folder + "/text", "--tls-key", key], "BEGIN CERTIFICATE"),
            (["--tls-cert", pem, "--tls-key", other_key], "not the private key of"),
            (["--tls-cert", pem, "--tls-key", folder + "/locked"], "openssl pkey"),
            (["--tls-cert", pem, "--tls-cert", other_pem, "--tls-key", key], "each --tls-cert"),
            (["--tls-cert", edwards_pem, "--tls-key", edwards_key], "RSA and ECDSA")):
        try:
            Server(folder + "/data", *options, accounts=()).stop()
            raise AssertionError(f"started with {options}")
        except NotReady as e:
            assert e.code == 78 and told in str(e), (options, e)


def test_the_certificate_is_chosen_by_name(folder):
    pairs = [make_certificate(folder, name, algorithm)
             for name, algorithm in (("one.test", "ec"), ("two.test", "rsa"))]
    options = [word for pem, key in pairs for word in ("--tls-cert", pem, "--tls-key", key)]
    any_name = trusting(*(pem for pem, _ in pairs), check_hostname=False)
    with Server(folder + "/data", *options) as server:
        for asked, shown in (("one.test", "one.test"), ("TWO.test", "two.test"), ("other.test", "one.test"), (None, "one.test")):
            assert handshake(server.ports["submissions"], any_name, asked) == shown, asked


def test_certificates_are_reloaded_under_live_sessions(folder):
    pem, key = make_certificate(folder, "before.test")
    any_name = trusting(pem, check_hostname=False)
    with Server(folder + "/data", "--tls-cert", pem, "--tls-key", key, accounts=(USER,)) as server:
        live = []
        for _ in range(20):
            smtp = smtplib.SMTP_SSL("127.0.0.1", server.ports["submissions"], timeout=30, context=any_name)
            smtp.ehlo()
            live.append(smtp)

        def swap(names, signalled):
            for name in names:
                os.rename(f"{folder}/{name[0]}", name[1])
            if signalled:
                server.process.send_signal(signal.SIGHUP)

        def expect(name):
            until = time.monotonic() + 10
            shown = None
            while time.monotonic() < until:
                shown = handshake(server.ports["pop3s"], any_name)
                if shown == name:
                    return
                time.sleep(0.1)
            raise AssertionError(f"{shown} is shown instead of {name}: {server.log()}")

        expect("before.test")
        for name, signalled in (("polled.test", False), ("hung-up.test", True)):
            new_pem, _ = make_certificate(folder, name)
            any_name.load_verify_locations(new_pem)
            swap([(name + ".key", key), (name + ".pem", pem)], signalled)
            expect(name)

        with open(pem, "w", encoding="ascii") as f:
            f.write("-----BEGIN CERTIFICATE-----\nhalf of")  # what an interrupted copy leaves
        server.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 10
        while "the certificates in service stay" not in server.log() and time.monotonic() < until:
            time.sleep(0.05)
        assert "the certificates in service stay" in server.log(), server.log()
        assert handshake(server.ports["pop3s"], any_name) == "hung-up.test"
        for smtp in live:
            assert smtp.noop()[0] == 250
            smtp.quit()


def test_plaintext_behind_starttls_is_never_run(folder):
    with Server(folder + "/data") as server:
        reply = dialog(server.ports["mx"], b"EHLO c.test\r\nSTARTTLS\r\nRSET\r\n")
        assert reply.endswith(b"554 5.5.0 Input behind STARTTLS, closing connection\r\n"), reply
        reply = dialog(server.ports["pop3"], b"STLS\r\nUSER u\r\n")
        assert reply.endswith(b"-ERR input behind STLS, closing connection\r\n"), reply
        with socket.create_connection(("127.0.0.1", server.ports["mx"]), 30) as s:
            s.sendall(b"EHLO c.test\r\nSTARTTLS\r\n")
            said = b""
            while b"220 2.0.0 " not in said:
                said += s.recv(4096)
            s.sendall(b"NOOP\r\nNOOP\r\n")  # in the clear instead of a handshake
            rest = b""
            try:
                while chunk := s.recv(4096):
                    rest += chunk
            except ConnectionResetError:
                pass
            assert b"250" not in rest and b"500" not in rest, rest


def test_old_versions_and_renegotiation_are_refused(folder):
    needs("openssl")
    with Server(folder + "/data") as server:
        target = f"127.0.0.1:{server.ports['submissions']}"
        for version in ("-tls1", "-tls1_1"):
            result = subprocess.run(["openssl", "s_client", "-connect", target, version, "-cipher", "ALL:@SECLEVEL=0"],
                                    input=b"", capture_output=True, timeout=30)
            assert result.returncode != 0 and b"220 mx" not in result.stdout, (version, result)
        with subprocess.Popen(["openssl", "s_client", "-connect", target, "-tls1_2", "-crlf"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
            said = b""
            while b"220 mx" not in said:
                said += os.read(client.stdout.fileno(), 4096)
            client.stdin.write(b"R\n")  # asks for a renegotiation
            client.stdin.flush()
            rest, _ = client.communicate(timeout=30)
            assert b"RENEGOTIATING" in rest and (b"no renegotiation" in rest or b"error" in rest), rest
        assert handshake(server.ports["submissions"], trusting(server.data + "/self-signed.pem")) == "mx.local.test"


def test_half_open_handshakes_up_to_the_cap_put_others_off_for_a_while(folder):
    with Server(folder + "/data", "--set", "tls.handshakes=5", "--set", "tls.handshake_timeout=2s") as server:
        half_open = [socket.create_connection(("127.0.0.1", server.ports["pop3s"]), 30) for _ in range(5)]
        until = time.monotonic() + 10
        reply = b""
        while b"454 4.7.0" not in reply and time.monotonic() < until:
            reply = dialog_parts(server.ports["mx"], b"EHLO c.test\r\n", b"STARTTLS\r\n", b"QUIT\r\n")
        assert b"454 4.7.0 " in reply, reply
        for s in half_open:
            try:
                assert s.recv(100) == b"", "the handshake's deadline closes"
            except ConnectionResetError:
                pass
            s.close()
        context = trusting(server.data + "/self-signed.pem")
        assert handshake(server.ports["pop3s"], context) == "mx.local.test"


def dialog_parts(port, *parts):
    """Sends each part when the last one was answered; returns all that came back."""
    with socket.create_connection(("127.0.0.1", port), 30) as s:
        received = s.recv(65536)
        for part in parts:
            s.sendall(part)
            received += s.recv(65536)
        return received
