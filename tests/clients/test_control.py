"""The control channel: HTTP and JSON on the unix socket of the data directory."""

import http.client
import json
import os
import re
import socket
import stat
import subprocess
import time

from server import Server, run


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("control", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)


def ask(server, path, method="GET", body=None):
    deadline = time.monotonic() + 20
    while True:
        connection = UnixConnection(server.data + "/control.sock")
        try:
            connection.request(method, path, body)
            return connection.getresponse(), connection
        except (FileNotFoundError, ConnectionRefusedError):  # the channel opens a little after the ready line
            assert time.monotonic() < deadline, "the control channel did not open"
            time.sleep(0.02)


def test_the_socket_is_the_owners_alone_and_goes_with_the_server(folder):
    with Server(folder + "/data") as server:
        response, connection = ask(server, "/v1/status")
        status = json.loads(response.read())
        assert response.status == 200 and status["processId"] == server.process.pid, status
        mode = os.stat(server.data + "/control.sock").st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600, oct(mode)
        connection.close()
        server.kill()
        assert os.path.exists(server.data + "/control.sock")  # stale now, and in nobody's way
        assert run("log", "verify", "--data", server.data).returncode == 0
        server.start()
        response, _ = ask(server, "/v1/status")
        assert json.loads(response.read())["processId"] == server.process.pid
    assert not os.path.exists(server.data + "/control.sock")


def test_unknown_paths_and_methods_are_refused_and_files_of_the_working_directory_open_no_port(folder):
    with open(folder + "/appsettings.json", "w") as f:
        f.write('{"Kestrel": {"Endpoints": {"Http": {"Url": "http://127.0.0.1:0"}}}, "urls": "http://127.0.0.1:0"}')
    before = os.getcwd()
    os.chdir(folder)
    os.environ["ASPNETCORE_URLS"] = "http://127.0.0.1:0"
    try:
        with Server(folder + "/data") as server:
            assert ask(server, "/v1/nothing")[0].status == 404
            assert ask(server, "/v1/status", "DELETE")[0].status == 405
            listening = subprocess.run(["ss", "-ltnpH"], capture_output=True, text=True).stdout
            ours = [line for line in listening.splitlines() if f"pid={server.process.pid}," in line]
            assert len(ours) == len(server.ports), ours
    finally:
        os.chdir(before)
        del os.environ["ASPNETCORE_URLS"]


def test_a_server_stops_although_somebody_holds_its_log(folder):
    with Server(folder + "/data") as server:
        response, connection = ask(server, "/v1/log/hold")
        held = json.loads(response.readline())
        assert held["segments"] == ["0-0000000000000000.seg"] and held["endLsn"] > 4096, held
        assert server.stop() == 0
        connection.close()


def test_a_long_data_directory_has_its_socket_too(folder):
    with Server(folder + "/" + "d" * 120 + "/data") as server:
        result = run("log", "verify", "--data", server.data)
        assert result.returncode == 0, result


def test_a_port_that_is_taken_costs_nobody_the_socket(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Server(folder + "/data", "--admin", f"127.0.0.1:{port}") as server:
            result = run("queue", "stats", "--data", server.data)
            assert result.returncode == 0, result
            deadline = time.monotonic() + 20
            while "admin.listen is not open" not in server.log():
                assert time.monotonic() < deadline, server.log()
                time.sleep(0.02)


def test_over_tcp_only_the_token_for_a_known_host_opens_the_door(folder):
    with Server(folder + "/data", "--admin", "127.0.0.1:0", "--set", "admin.hosts=box.test") as server:
        deadline = time.monotonic() + 20
        while not (found := re.search(r"control channel answers on http://127\.0\.0\.1:(\d+)", server.log())):
            assert time.monotonic() < deadline, server.log()
            time.sleep(0.02)
        path = server.data + "/admin.token"
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path) as f:
            token = f.read().strip()
        assert len(token) == 64

        def status(host, authorization=None, path="/v1/status", **more):
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            headers = {"Host": host, **({"Authorization": authorization} if authorization else {}), **more}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200 or "error" in json.loads(body), body
            return response.status

        right = "Bearer " + token
        assert status(f"127.0.0.1:{found[1]}", right) == 200
        assert status("localhost", right) == 200
        assert status("BOX.test", right, path="/v1/queue/stats") == 200
        assert status("evil.test", right) == 421
        assert status("localhost", right, Origin="http://evil.test") == 403
        for wrong in (None, "Bearer", "Bearer " + token[:-1] + "x", "Bearer " + token + "x", "Basic " + token, token):
            assert status("localhost", wrong) == 401, wrong
        assert status("localhost", None, path="/nothing/here") == 401
        server.kill()
        os.chmod(path, 0o644)
        result = run("serve", "--data", server.data, "--admin", "127.0.0.1:0")
        assert result.returncode == 74 and "admin.token" in result.stderr, result


def test_an_import_that_is_too_large_is_refused_as_that(folder):
    with Server(folder + "/data") as server:
        ask(server, "/v1/status")[1].close()
        connection = UnixConnection(server.data + "/control.sock")
        connection.putrequest("POST", "/v1/maildrop/messages?address=u@local.test")
        connection.putheader("Content-Length", str(5 << 30))
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413, (response.status, response.read())
        connection.close()
