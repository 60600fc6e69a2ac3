"""Has a running server compact its log again and again, so that whatever ends it ends it in the midst of that."""

import http.client
import threading
import time

from test_control import UnixConnection


def compact_until_gone(server, process, has_begun):
    while process.poll() is None:
        connection = UnixConnection(server.data + "/control.sock")
        try:
            connection.request("POST", "/v1/log/compact?ratio=0.01")
            response = connection.getresponse()
            has_begun.set()
            response.read()  # ends with the compaction
        except (OSError, http.client.HTTPException):
            pass  # not open yet, or gone: the loop tells which
        finally:
            connection.close()
        time.sleep(0.02)


def start_compactor(server):
    """On a thread of its own; answers when it has begun. Join it when the server is gone."""
    has_begun = threading.Event()
    compactor = threading.Thread(target=compact_until_gone, args=(server, server.process, has_begun))
    compactor.start()
    assert has_begun.wait(60), "the control channel did not open"
    return compactor
