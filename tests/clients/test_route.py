"""fastmail route test: what it says of an address, asked of a running server and decided alone."""

import json

import server
from dns_server import DnsServer
from server import Server

ZONE = ("b.test MX 20 mx2.b.test", "b.test MX 10 mx1.b.test", "mx1.b.test A 198.51.100.1", "mx2.b.test A 198.51.100.2",
        "mx1.b.test AAAA 2001:db8::1", "null.test MX 0 .", "slow.test SILENT", "own.test MX 1 mx.local.test")


def explain(*args):
    result = server.run("route", "test", "--json", *args)
    assert result.stdout, result.stderr
    return result.returncode, json.loads(result.stdout)


def check(*args):
    code, answer = explain("x@b.test", *args)
    assert code == 0 and answer["kind"] == "remote" and answer["destination"] == "b.test", answer
    assert [host["name"] for host in answer["hosts"]] == ["mx1.b.test", "mx2.b.test"], answer
    assert answer["hosts"][0]["addresses"] == ["[2001:db8::1]:25", "198.51.100.1:25"], answer
    assert answer["decidedBy"] == "MX of b.test" and answer["notes"], answer
    assert explain("x@null.test", *args)[0] == 68
    code, answer = explain("x@nowhere.test", *args)
    assert code == 68 and answer["failure"]["status"] == "5.1.2", answer
    code, answer = explain("x@slow.test", *args)
    assert code == 75 and answer["failure"]["status"] == "4.4.3", answer


def test_route_is_explained_without_a_server(folder):
    with DnsServer(*ZONE) as dns:
        dns_options = ("--set", f"dns.servers=127.0.0.1:{dns.port}", "--set", "dns.timeout=1s", "--data", folder + "/none")
        check(*dns_options)
        code, answer = explain("x@b.test", *dns_options, "--route", ".test=refuse", "--route", "b.test=127.0.0.1:2626 tls=verify")
        assert code == 0 and answer["decidedBy"] == "route.table 'b.test=127.0.0.1:2626 tls=verify'", answer
        assert answer["hosts"][0]["tls"] == "verify", answer
        result = server.run("route", "test", "x@b.test", *dns_options)
        assert "mx1.b.test, preference 10: [2001:db8::1]:25, 198.51.100.1:25; tls may (relay.tls)" in result.stdout, result.stdout
    assert server.run("route", "test", "no address", "--data", folder).returncode == 64
    result = server.run("route", "test", "x@b.test", "--data", folder, "--route", "b.test=127.1:25")
    assert result.returncode != 0 and "127.1" in result.stderr, result.stderr


def test_route_is_explained_by_the_running_server(folder):
    with DnsServer(*ZONE) as dns, Server(
            folder + "/data", "--set", f"dns.servers=127.0.0.1:{dns.port}", "--set", "dns.timeout=1s",
            "--route", "c.test=lmtp:unix:/run/nobody.sock") as running:
        check("--data", running.data)
        code, answer = explain("u@local.test", "--data", running.data)
        assert code == 0 and answer["kind"] == "local", answer
        code, answer = explain("x@c.test", "--data", running.data)
        assert answer["protocol"] == "lmtp" and answer["hosts"][0]["addresses"] == ["unix:/run/nobody.sock"], answer
        code, answer = explain("x@own.test", "--data", running.data)
        assert code == 68 and answer["failure"]["status"] == "5.4.6", answer  # its MX is this server
        asked = len(dns.asked)
        explain("x@b.test", "--data", running.data)
        assert len(dns.asked) == asked, dns.asked[asked:]  # the server remembers what it was told
