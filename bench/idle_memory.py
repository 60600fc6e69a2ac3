#!/usr/bin/env python3
"""What an idle connection costs the server: how its anonymous memory grows with clients that say nothing any more.

  bench/idle_memory.py [CONNECTIONS]    needs as many descriptors and a quarter more, here and for the server

Default 10,000. Clients take addresses of their own from 127.0.0.0/8, others for each row: ports stay taken for a minute.
"""

import os
import resource
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/clients"))
from server import USER, Server, run  # noqa: E402


EHLO = b"EHLO client.example\r\n"
TRANSACTION = (EHLO + b"MAIL FROM:<a@b.test>\r\nRCPT TO:<" + USER.encode() + b">\r\nDATA\r\n"
               b"Subject: x\r\n\r\n.\r\nNOOP\r\n")  # the message is in the index then, too


def anonymous_octets(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("Anonymous:"))


def measure(row, count, what, role, said=b"", end=b""):
    connections = ("--set", f"limits.connections={count + count // 4}", "--set", "limits.stress_begin=100")
    with tempfile.TemporaryDirectory() as folder, Server(folder + "/data", *connections) as server:
        while run("log", "stat", "--data", server.data).returncode != 0:  # the last part of the server has opened
            time.sleep(0.1)
        clients = [connect(server.ports[role], said, end, row, i) for i in range(100)]  # what is made once is made now
        before = anonymous_octets(server.process.pid)
        clients += [connect(server.ports[role], said, end, row, i) for i in range(count)]
        each = (anonymous_octets(server.process.pid) - before) / count
        print(f"{role:5} {what:26} {each:6.0f} octets each of {count}", flush=True)
        for client in clients:
            client.close()


def connect(port, said, end, row, number):
    client = socket.create_connection(("127.0.0.1", port), 30, (f"127.0.{row}.{2 + number // 20_000}", 0))
    client.recv(4096)
    if said:
        client.sendall(said)
        received = b""
        while not received.endswith(end):
            chunk = client.recv(4096)
            assert chunk, received
            received += chunk
    return client


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    measure(1, count, "has read the greeting", "mx")
    measure(2, count, "said EHLO", "mx", EHLO, b"ENHANCEDSTATUSCODES\r\n")
    measure(3, count, "delivered a message", "mx", TRANSACTION, b"250 2.0.0 Ok\r\n")
    measure(4, count, "has read the greeting", "pop3")


if __name__ == "__main__":
    main()
