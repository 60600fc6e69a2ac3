#!/usr/bin/env python3
"""What an idle connection costs the server: anonymous memory before and after 10,000 clients that have read the greeting.

  bench/idle_memory.py [CONNECTIONS]    needs as many descriptors, for the server and for this process
"""

import os
import resource
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/clients"))
from server import Server  # noqa: E402


def anonymous_octets(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Anonymous:"))


def measure(count, role, said, end):
    with tempfile.TemporaryDirectory() as folder, Server(folder + "/data") as server:
        clients = [connect(server.ports[role], said, end) for _ in range(100)]  # what is made once is made now
        before = anonymous_octets(server.process.pid)
        clients += [connect(server.ports[role], said, end) for _ in range(count)]
        each = (anonymous_octets(server.process.pid) - before) / count
        print(f"{role:5} {said.decode().strip() or 'greeted':12} {each:6.0f} octets each of {count}", flush=True)
        for client in clients:
            client.close()


def connect(port, said, end):
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.recv(4096)
    if said:
        client.sendall(said)
        received = b""
        while not received.endswith(end):
            received += client.recv(4096)
    return client


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measure(count, "mx", b"", b"")
    measure(count, "mx", b"EHLO client.example\r\n", b"ENHANCEDSTATUSCODES\r\n")
    measure(count, "pop3", b"", b"")


if __name__ == "__main__":
    main()
