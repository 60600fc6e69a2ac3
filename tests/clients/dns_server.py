#!/usr/bin/env python3
"""A recursive resolver on 127.0.0.1 whose whole world is a few records, over UDP and TCP.

  tests/clients/dns_server.py 5353 'b.test MX 10 mx.b.test' 'mx.b.test A 127.0.0.2'

then serves until it is ended. In a test: with DnsServer("b.test MX 10 mx.b.test", ...) as dns: ... dns.port.
A record is NAME TYPE DATA. The types FAIL and SILENT make questions about a name fail or go unanswered.
"""

import ipaddress
import socket
import struct
import sys
import threading

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
NO_SUCH_NAME, SERVER_FAILURE = 3, 2


def wire_name(text):
    labels = [label.encode() for label in text.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def wire_data(kind, text):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(text).packed
    if kind == "MX":
        preference, host = text.split()
        return struct.pack("!H", int(preference)) + wire_name(host)
    if kind in ("CNAME", "PTR"):
        return wire_name(text)
    if kind == "TLSA":
        usage, selector, matching, association = text.split()
        return bytes([int(usage), int(selector), int(matching)]) + bytes.fromhex(association)
    if kind == "TXT":
        octets = text.encode()
        return b"".join(bytes([len(part)]) + part for part in (octets[i:i + 255] for i in range(0, len(octets), 255)))
    return b""


class DnsServer:
    """Serves from its own threads; use as a context manager. asked lists (name, type number, 'udp' or 'tcp')."""

    def __init__(self, *records, port=0, is_authentic=False):
        self.zone = {}
        self.asked = []
        self.is_authentic = is_authentic
        for record in records:
            self.add(record)
        self.streams = socket.create_server(("127.0.0.1", port))
        self.port = self.streams.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        for serve in (self.serve_datagrams, self.serve_streams):
            threading.Thread(target=serve, daemon=True).start()

    def add(self, record):
        name, kind, *data = record.split(" ", 2)
        self.zone.setdefault(name.lower(), []).append((kind, "".join(data)))

    def remove(self, name):
        self.zone.pop(name.lower(), None)

    def close(self):
        self.streams.close()
        self.datagrams.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def serve_datagrams(self):
        while True:
            try:
                query, client = self.datagrams.recvfrom(4096)
            except OSError:
                return  # closed
            response = self.answer(query, "udp")
            if response is not None:
                self.datagrams.sendto(response, client)

    def serve_streams(self):
        while True:
            try:
                connection, _ = self.streams.accept()
            except OSError:
                return  # closed
            with connection:
                connection.settimeout(5)
                try:
                    length, = struct.unpack("!H", self.read(connection, 2))
                    response = self.answer(self.read(connection, length), "tcp")
                    if response is not None:
                        connection.sendall(struct.pack("!H", len(response)) + response)
                except OSError:
                    pass  # a client that went away

    @staticmethod
    def read(connection, count):
        octets = b""
        while len(octets) < count:
            part = connection.recv(count - len(octets))
            if not part:
                raise OSError("closed")
            octets += part
        return octets

    def answer(self, query, transport):
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        name = ".".join(name).lower()
        kind, = struct.unpack_from("!H", query, at + 1)
        question = query[12:at + 5]
        self.asked.append((name, kind, transport))

        answers, owner = [], name
        for _ in range(20):
            records = self.zone.get(owner, [])
            if any(k == "SILENT" for k, _ in records):
                return None
            if any(k == "FAIL" for k, _ in records):
                return self.response(query, question, SERVER_FAILURE, [])
            answers += [(owner, kind, wire_data(k, data)) for k, data in records if TYPES.get(k) == kind]
            alias = [data for k, data in records if k == "CNAME"]
            if not alias or kind == TYPES["CNAME"]:
                break
            answers.append((owner, TYPES["CNAME"], wire_name(alias[0])))
            owner = alias[0].lower()
        exists = any(known == owner or known.endswith("." + owner) for known in self.zone)
        response = self.response(query, question, 0 if exists else NO_SUCH_NAME, answers)
        most = 65535 if transport == "tcp" else 1232 if query[11] else 512
        return response if len(response) <= most else self.response(query, question, 0x0200, [])

    def response(self, query, question, flags, answers):
        flags |= 0x8180 | (0x20 if self.is_authentic else 0)
        records = b"".join(
            wire_name(owner) + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for owner, kind, data in answers)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(answers), 0, 0) + question + records


if __name__ == "__main__":
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        sys.exit(__doc__)
    with DnsServer(*sys.argv[2:], port=int(sys.argv[1])) as server:
        print(f"answering on 127.0.0.1:{server.port}", flush=True)
        threading.Event().wait()
