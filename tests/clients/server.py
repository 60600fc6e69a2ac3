"""Runs the fastmail program for the tests of this folder: start, wait for the ready line, stop, kill."""

import os
import re
import select
import signal
import socket
import subprocess
import time

USER = "u@local.test"
PASSWORD = "correct horse battery staple"

# Checkpoints all the time, body files for what is long, and segments that are soon full.
RECLAIMING = (
    "--segment-size", "1MiB", "--set", "store.jumbo_size=64KiB", "--set", "store.checkpoint_size=1MiB",
    "--set", "store.checkpoint_interval=1s", "--set", "store.reserve=1MiB")


def program():
    """The command that runs fastmail, from FASTMAIL or the Release build of this checkout."""
    if "FASTMAIL" in os.environ:
        return os.environ["FASTMAIL"].split()
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [os.path.join(root, "src/FastMail.Server/bin/Release/net10.0/fastmail")]


def run(*args, stdin=None, timeout=60):
    """One run of the command line to its end; the result has returncode, stdout and stderr as text."""
    return subprocess.run([*program(), *args], input=stdin if stdin is not None else "", capture_output=True,
                          text=True, timeout=timeout)


def add_account(data, address=USER, password=PASSWORD):
    result = run("account", "add", address, "--password-stdin", "--data", data, stdin=password + "\n")
    assert result.returncode == 0, result.stderr


class NotReady(AssertionError):
    """The program ended before its ready line; code is its exit code."""

    def __init__(self, code, log):
        super().__init__(f"ended before it was ready, code {code}: {log[-2000:]}")
        self.code = code


class Server:
    """A running server on free ports of 127.0.0.1; use as a context manager, which stops it in the end."""

    def __init__(self, data, *options, accounts=(USER,), library_path=None, exempt="127.0.0.0/8", environment=()):
        self.data = data
        self.environment = dict(environment)
        self.options = ["--set", f"limits.exempt={exempt}", *options]
        self.library_path = library_path
        for address in accounts:
            add_account(data, address)
        self.process = None
        self.start()

    def launch(self):
        """Starts the process and does not wait for it."""
        environment = dict(os.environ, **self.environment)
        if self.library_path is not None:
            environment["LD_LIBRARY_PATH"] = self.library_path
        os.makedirs(os.path.dirname(self.data), exist_ok=True)  # for the log beside it; fastmail makes its own
        self.stderr = open(os.path.join(os.path.dirname(self.data), "stderr.log"), "ab")
        self.process = subprocess.Popen(
            [*program(), "serve", "--data", self.data, "--hostname", "mx.local.test", "--mx", "127.0.0.1:0",
             "--submission", "127.0.0.1:0", "--pop3", "127.0.0.1:0",
             "--submissions", "127.0.0.1:0", "--pop3s", "127.0.0.1:0", *self.options],
            stdout=subprocess.PIPE, stderr=self.stderr, stdin=subprocess.DEVNULL, env=environment)

    def start(self, wait=20.0):
        """Starts and waits for the ready line; self.ready_seconds tells how long it took."""
        began = time.monotonic()
        self.launch()
        line = b""
        while not line.endswith(b"\n"):
            left = began + wait - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"not ready after {wait} s")
            chunk = os.read(self.process.stdout.fileno(), 4096)
            if not chunk:
                raise NotReady(self.process.wait(), self.log())
            line += chunk
        self.ready_seconds = time.monotonic() - began
        self.ready_line = line.decode().strip()
        self.ports = {role: int(port) for role, port in re.findall(r"(\w+)=127\.0\.0\.1:(\d+)", self.ready_line)}

    def log(self):
        with open(self.stderr.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.stderr.close()

    def stop(self, wait=40):
        """SIGTERM; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(wait)
        self.process.stdout.close()
        self.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def dialog(port, sent, until_closed=True, timeout=30):
    """Sends bytes on a raw connection and returns everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as s:
        s.sendall(sent)
        received = b""
        while chunk := s.recv(65536):
            received += chunk
        return received
