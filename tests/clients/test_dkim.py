"""DKIM keys on the command line."""

import json
import os
import re
import stat
import subprocess

from server import USER, Server, run
from skip import Skip
from test_queue import Sink, submit


def test_dkim_keys_are_made_listed_chosen_and_removed(folder):
    data = folder + "/data"
    made = run("dkim", "keygen", "Example.ORG", "--selector", "one", "--data", data)
    assert made.returncode == 0, made.stderr
    record = re.fullmatch(r'one\._domainkey\.example\.org\. IN TXT \( ((?:"[^"]{1,255}"\s*)+)\)\n', made.stdout)
    assert record, made.stdout
    text = "".join(re.findall(r'"([^"]*)"', record[1]))
    assert re.fullmatch(r"v=DKIM1; k=rsa; p=[A-Za-z0-9+/]{300,}={0,2}", text), text
    assert "signs from now on" in made.stderr, made.stderr
    assert stat.S_IMODE(os.stat(data + "/dkim/example.org/one.pem").st_mode) == 0o600

    again = run("dkim", "keygen", "example.org", "--selector", "one", "--data", data)
    assert (again.returncode, again.stdout) == (73, ""), again
    second = run("dkim", "keygen", "example.org", "--selector", "two", "--json", "--data", data)
    assert json.loads(second.stdout)["active"] is False
    keys = json.loads(run("dkim", "list", "--json", "--data", data).stdout)
    assert [(k["selector"], k["active"], k["bits"]) for k in keys] == [("one", True, 2048), ("two", False, 2048)], keys
    assert keys[0]["recordText"] == text

    assert run("dkim", "use", "example.org", "two", "--data", data).returncode == 0
    assert run("dkim", "use", "example.org", "three", "--data", data).returncode == 66
    assert run("dkim", "remove", "example.org", "one", "--data", data).returncode == 0
    assert run("dkim", "list", "--data", data).stdout.startswith("example.org two 2048 bits, signs\n")
    for wrong in (["keygen", "no domain"], ["keygen", "x.test", "--selector", "../x"], ["keygen"], ["keygen", "x.test", "--bits", "512"]):
        result = run("dkim", *wrong, "--data", data)
        assert result.returncode == 64 and result.stderr, result
    assert sorted(os.listdir(data + "/dkim")) == ["example.org"]


def test_mail_that_goes_out_is_signed_and_another_program_verifies_it(folder):
    data = folder + "/data"
    record = json.loads(run("dkim", "keygen", "local.test", "--json", "--data", data).stdout)["recordText"]
    judge = ["/usr/bin/python3", os.path.join(os.path.dirname(os.path.abspath(__file__)), "dkim_verdicts.py")]
    if subprocess.run(["/usr/bin/python3", "-c", "import dkim"], capture_output=True).returncode:
        raise Skip("python3-dkim not installed")
    with Sink() as sink, Server(data, "--route", f"far.test=127.0.0.1:{sink.server_address[1]}") as server:
        large = "x" * 70 + "\r\n.\r\n"
        texts = [f"From: {USER}\r\nSubject: {i}\r\n\r\n.body {i}\r\n\r\n" for i in range(20)]
        texts.append(f"From: {USER}\r\nSubject: large\r\n\r\n" + large * 70_000)
        for text in texts:
            submit(server, ["a@far.test", "b@far.test"], text=text)
        submit(server, ["a@far.test"], text="From: somebody@other.test\r\nSubject: unsigned\r\n\r\nx\r\n")
        mail = sink.wait(len(texts) + 1, seconds=60)
        os.mkdir(folder + "/mail")
        with open(folder + "/mail/record.txt", "w") as f:
            f.write(record)
        for i, (_, _, content) in enumerate(mail):
            is_signed = b"\r\nSubject: unsigned\r\n" not in content
            assert content.startswith(b"DKIM-Signature: ") == is_signed, content[:2000]
            with open(f"{folder}/mail/{'good' if is_signed else 'bad'}-{i}.eml", "wb") as f:
                f.write(content)
        verdicts = subprocess.run([*judge, folder + "/mail"], capture_output=True, text=True)
        assert verdicts.stdout.endswith(f"{len(mail)} judged, 0 wrong\n"), verdicts.stdout[-3000:] + verdicts.stderr
