"""What floods, slow clients and a lack of descriptors do to the others: nothing."""

import os
import poplib
import resource
import select
import socket
import subprocess
import threading
import time

from server import PASSWORD, USER, Server, dialog, run
from test_load import generator

SLOW = int(os.environ.get("SLOW_CONNECTIONS", "500"))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


IDLE = 0.05  # of a processor: more is a loop that spins


def least_load(pid):
    """Processors that the process uses, in the quietest of up to four windows of 2 s: compiling what has just become hot
    goes on in the background for seconds, a loop that spins does so in every window."""
    least = 1.0
    for _ in range(4):  # together less than the 10 s that a silent client has under stress
        began, since = cpu_seconds(pid), time.monotonic()
        time.sleep(2)
        least = min(least, (cpu_seconds(pid) - began) / (time.monotonic() - since))
        if least < IDLE:
            break
    return least


def rss(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def connect(port, timeout=30):
    s = socket.create_connection(("127.0.0.1", port), timeout)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def deliver(port, text=b"Subject: x\r\n\r\nx\r\n"):
    return dialog(port, b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<" + USER.encode() + b">\r\nDATA\r\n" + text
                  + b".\r\nQUIT\r\n")


def test_when_descriptors_run_out_the_cap_comes_first_and_storage_keeps_its_own(folder):
    """A client over the cap is told so; those inside go on; a place that becomes free is given away within a second."""
    with Server(folder + "/data") as server:
        pid = server.process.pid
        server.stop()
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        launch = subprocess.Popen
        try:
            subprocess.Popen = lambda *a, **k: launch(
                *a, **k, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))
            server.start()
        finally:
            subprocess.Popen = launch
        assert hard >= 2000, f"this test needs descriptors of its own, the limit is {hard}"
        pid, port = server.process.pid, server.ports["mx"]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        inside, refused = [], 0
        for _ in range(1500):
            s = connect(port)
            greeting = s.recv(200)
            if greeting.startswith(b"220"):
                inside.append(s)
            else:
                assert greeting.startswith(b"421 4.3.2"), greeting
                refused += 1
                s.close()
        # What 256 leave beside files, the connections that the relay begins, and the runtime's own: two for each assembly.
        assert 16 <= len(inside) <= 120, len(inside)
        asked = run("queue", "stats", "--data", folder + "/data")  # has the web server loaded, which is for verbs alone
        assert asked.returncode == 0, asked
        left = 256 - len(os.listdir(f"/proc/{pid}/fd"))
        assert 12 <= left <= 40, left  # neither timid nor reckless: files, the relay's share, and what is not loaded yet
        assert refused == 1500 - len(inside)
        s = inside.pop()
        s.sendall(b"EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<" + USER.encode() + b">\r\nDATA\r\nx\r\n.\r\nQUIT\r\n")
        said = b""
        while chunk := s.recv(4096):
            said += chunk
        assert (b"250 2.0.0" in said) or (b"421 4.3.2" in said), said  # full is stress too: no new transaction
        busy = least_load(pid)
        assert busy < IDLE, f"{busy:.1%} of a processor while full"
        for other in inside:
            other.close()
        began = time.monotonic()
        while not (reply := deliver(port)).startswith(b"220"):
            assert time.monotonic() - began < 5, reply
        took = time.monotonic() - began
        assert b"250 2.0.0" in reply, reply
        print(f"        {len(inside)} inside, {refused} refused, {left} descriptors left, {busy:.1%} CPU while full, back after {took:.2f} s", flush=True)


def test_an_accept_that_finds_no_descriptor_does_not_spin_and_goes_on_within_a_second(folder):
    """The limit is taken below what is open, as if something else had used the descriptors up: who calls waits in the
    backlog, and is answered after at most the longest pause between two tries."""
    with Server(folder + "/data") as server:
        pid, port = server.process.pid, server.ports["mx"]
        assert deliver(port).startswith(b"220")
        while run("log", "stat", "--data", server.data).returncode != 0:  # its last part to open is the control channel
            time.sleep(0.1)
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (16, limits[1]))
        waiting = [connect(port) for _ in range(200)]
        try:
            busy = least_load(pid)
            assert busy < IDLE, f"{busy:.1%} of a processor while no descriptor is free"
            assert not select.select(waiting, [], [], 0)[0], "somebody was answered without a descriptor"
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        began = time.monotonic()
        for s in waiting:
            assert s.recv(200).startswith(b"220")
        took = time.monotonic() - began
        assert took < 1, f"{took:.2f} s until all were answered"
        for s in waiting:
            s.close()
        assert b"250 2.0.0" in deliver(port)
        print(f"        {busy:.1%} CPU without descriptors, 200 answered {took:.2f} s after there were some", flush=True)


def test_slow_connections_leave_the_fast_ones_their_speed(folder):
    """SLOW_CONNECTIONS clients send an octet every 10 s; the load generator does not notice (its rate is printed)."""
    load = generator()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    def rate(server):
        sent = subprocess.run(
            [load, "smtp", "--target", f"127.0.0.1:{server.ports['mx']}", "--connections", "20", "--messages", "20000",
             "--size", "1000", "--to", USER, "--pipeline", "full", "--quiet"],
            capture_output=True, text=True, timeout=300)
        assert sent.returncode == 0, sent
        return sent.stdout

    with Server(folder + "/data") as server:
        before = time.monotonic()
        rate(server)
        alone = time.monotonic() - before
        slow = []
        for _ in range(SLOW):
            s = connect(server.ports["mx"])
            slow.append(s)
        idle = rss(server.process.pid)
        stopping = threading.Event()

        def drip():
            while not stopping.wait(10):
                for s in slow:
                    s.send(b"N")

        for s in slow:
            assert s.recv(200).startswith(b"220")
            s.send(b"N")
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        before = time.monotonic()
        rate(server)
        among = time.monotonic() - before
        stopping.set()
        thread.join()
        held = len(slow) - len(select.select(slow, [], [], 0)[0]) if SLOW < 1000 else sum(not closed(s) for s in slow)
        assert held == SLOW, f"{SLOW - held} slow connections were lost"
        print(f"        {SLOW} slow: 20,000 messages in {alone:.2f} s alone, {among:.2f} s among them; "
              f"RSS {idle >> 20} MiB with all of them", flush=True)
        for s in slow:
            s.close()


def closed(s):
    s.setblocking(False)
    try:
        return s.recv(1) == b""
    except BlockingIOError:
        return False


def test_floods_that_are_not_read_hold_at_most_64_KiB_a_session(folder):
    """Endless lines, endless replies and messages that nobody reads, 50 sessions each."""
    with Server(folder + "/data") as server:
        pid = server.process.pid
        deliver(server.ports["mx"], b"Subject: big\r\n\r\n" + b"x" * 70 + (b"\r\n" + b"y" * 70) * 20000 + b"\r\n")
        login = b"USER " + USER.encode() + b"\r\nPASS " + PASSWORD.encode() + b"\r\n"
        for warm in range(2):
            base = rss(pid)
            sessions = []
            for what, port, octets in (
                    ("line", "mx", b"EHLO c.test\r\nNOOP " + b"a" * 2000), ("noop", "mx", b"NOOP\r\n" * 20000),
                    ("retr", "pop3", login + b"RETR 1\r\n" * 20)):
                for _ in range(50 if what != "retr" else 1):
                    s = connect(server.ports[port])
                    s.setblocking(False)
                    try:
                        s.send(octets)
                    except BlockingIOError:
                        pass
                    sessions.append(s)
            time.sleep(1)
            grown = (rss(pid) - base) / len(sessions)
            for s in sessions:
                s.close()
            time.sleep(0.5)
        assert grown <= 64 * 1024, f"{grown / 1024:.0f} KiB a session"
        print(f"        {len(sessions)} sessions grew RSS by {max(grown, 0) / 1024:.1f} KiB each", flush=True)
        assert b"250 2.0.0" in deliver(server.ports["mx"])


def test_content_sent_in_haste_buys_no_time_for_drops(folder):
    """At the least rate a megabyte would be good for an hour: it is good for one timeout, then drops are too slow."""
    with Server(folder + "/data", "--set", "limits.command_timeout=3s", exempt="192.0.2.0/24") as server:
        s = connect(server.ports["mx"])
        f = s.makefile("rb")
        f.readline()
        for line in (b"HELO c.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<" + USER.encode() + b">", b"DATA"):
            s.sendall(line + b"\r\n")
            assert f.readline()[:1] in b"23", line
        s.sendall((b"y" * 70 + b"\r\n") * 14_000)
        for _ in range(120):  # in 60 s half of these drops would keep it open by the timeout alone
            readable, _, _ = select.select([s], [], [], 0.5)
            if readable:
                break
            s.sendall(b"z")
        assert readable and f.readline().startswith(b"421 "), "the connection is still open"


def unread(port):
    """Octets that the connections of a port of 127.0.0.1 have received and the server has not read."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        lines = [line.split() for line in f.readlines()[1:]]
    return sum(int(line[4].split(":")[1], 16) for line in lines
               if int(line[1].split(":")[1], 16) == port and line[3] == "01")  # 01: established


def test_DATA_is_refused_where_memory_has_run_out_since_MAIL(folder):
    """
    Whoever declares no size is let in at MAIL. Content of others may have come meanwhile: theirs is kept, up to the limit
    and no further, whoever was let in at DATA.
    """
    content = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 51_700  # nine of it are the limit but for 52 KB
    with Server(folder + "/data", environment={"DOTNET_GCHeapHardLimit": "0x10000000"}) as server:  # an eighth: 32 MiB
        port = server.ports["mx"]
        sessions = [connect(port, 120) for _ in range(12)]
        files = [s.makefile("rb") for s in sessions]

        def ask(number, line):
            sessions[number].sendall(line + b"\r\n")
            return files[number].readline()

        for number, file in enumerate(files):
            file.readline()
            for line in (b"HELO c.test", b"MAIL FROM:<a@b.test>", b"RCPT TO:<" + USER.encode() + b">"):
                assert ask(number, line).startswith(b"250"), line
        for number in range(10):
            assert ask(number, b"DATA").startswith(b"354")
        for number in range(10):
            sessions[number].sendall(content)
        end = time.monotonic() + 60
        while unread(port) > 0:
            assert time.monotonic() < end, unread(port)
            time.sleep(0.05)  # the server gives no signal
        assert ask(10, b"DATA").startswith(b"452 4.3.1 ")
        replies = [ask(number, b".") for number in range(10)]
        assert sorted(reply[:9] for reply in replies) == [b"250 2.0.0"] * 9 + [b"452 4.3.1"], replies
        assert ask(11, b"DATA").startswith(b"354"), "there is room again"
        assert ask(11, b"Subject: small\r\n\r\nx\r\n.").startswith(b"250 ")
        pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=60)
        pop.user(USER)
        pop.pass_(PASSWORD)
        assert pop.stat()[0] == 10, pop.stat()
        pop.quit()
