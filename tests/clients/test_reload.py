"""What SIGHUP reads again for the relay: the password that a next hop wants."""

import base64
import os
import signal
import socketserver
import threading

from server import Server
from test_queue import await_entries, queue, submit


class Guarded(socketserver.ThreadingTCPServer):
    """A next hop that takes mail from user "me" with the password of now; refused counts the others."""

    allow_reuse_address = True
    daemon_threads = True

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.say(b"220 guarded.test ESMTP")
            is_known = False
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"EHLO":
                    self.say(b"250-guarded.test\r\n250 AUTH PLAIN")
                elif word == b"AUTH":
                    given = base64.b64decode(line.split()[-1]).split(b"\0")
                    is_known = given[1:] == [b"me", self.server.password]
                    self.server.refused += not is_known
                    self.say(b"235 2.7.0 ok" if is_known else b"535 5.7.8 no")
                elif word == b"DATA":
                    self.say(b"354 go on")
                    while self.rfile.readline() != b".\r\n":
                        pass
                    self.server.taken += 1
                    self.say(b"250 taken")
                elif word == b"QUIT":
                    return
                else:
                    self.say(b"250 ok" if is_known or word == b"RSET" else b"530 5.7.0 who are you")

        def say(self, text):
            self.wfile.write(text + b"\r\n")

    def __init__(self, password):
        super().__init__(("127.0.0.1", 0), Guarded.Handler)
        self.password = password
        self.refused = self.taken = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def test_a_new_password_for_a_next_hop_is_used_after_SIGHUP(folder):
    secret = os.path.join(folder, "secret")

    def write(password):
        with open(secret, "w", encoding="ascii") as f:
            f.write(password + "\n")

    write("old")
    with Guarded(b"old") as hop, Server(
            folder + "/data", "--retry-min", "1s",
            "--route", f"far.test=127.0.0.1:{hop.server_address[1]} user=me password_file={secret}") as server:
        submit(server, ["a@far.test"])
        await_entries(server, lambda found: not found)
        assert (hop.taken, hop.refused) == (1, 0)
        queue(server, "stats")
        hop.password = b"new"
        server.process.send_signal(signal.SIGHUP)  # nothing has changed yet, and nothing breaks
        os.remove(secret)
        server.process.send_signal(signal.SIGHUP)  # told, and the old one stays
        write("new")
        server.process.send_signal(signal.SIGHUP)
        submit(server, ["b@far.test"])
        await_entries(server, lambda found: not found)
        assert hop.taken == 2, (hop.taken, hop.refused)
    assert "has been read again" in server.log(), server.log()[-2000:]
