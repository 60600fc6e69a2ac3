"""DKIM keys on the command line."""

import json
import os
import re
import stat

from server import run


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
