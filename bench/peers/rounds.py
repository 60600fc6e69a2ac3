"""The same work by several servers in turn, repetition after repetition, and what is made of it: interleaved, so that
what else the machine does meets all of them; medians, and the medians of the ratios of each repetition.

A case is a tuple whose first member is its label. A server is whatever has a name and stop(), and cpu(), the processor
time it has had so far in seconds, if it may still be at work after its turn."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

REST_SECONDS = 20  # at most


def parser(description, cases, repetitions=5):
    """The options that all have; add to them what is particular."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repetitions", type=positive, default=repetitions,
                      help="beside a warm-up [default: %(default)s]")
    made.add_argument("--cases", type=lambda text: chosen(text, cases), default=list(cases),
                      help="; ".join(f"{i}: {case[0]}" for i, case in enumerate(cases)))
    add_directory(made)
    made.add_argument("--json", action="store_true", help="print all rows as one JSON array at the end")
    return made


def add_directory(made):
    made.add_argument("--directory", default=disk(), help="on the disk that is meant [default: %(default)s; "
                      "/var/tmp where there is one, else the folder for temporary files]")


def disk(candidates=("/var/tmp",)):
    """Where to write unless told otherwise: unlike /tmp, /var/tmp is nowhere in memory, but not everybody has it."""
    return next((path for path in candidates if os.path.isdir(path)), tempfile.gettempdir())


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return int(text)


def chosen(text, cases):
    indexes = text.split(",")
    if not all(index.isdecimal() and int(index) < len(cases) for index in indexes):
        raise argparse.ArgumentTypeError(f"'{text}' is no comma list of numbers from 0 to {len(cases) - 1}")
    return [cases[int(index)] for index in indexes]


@contextlib.contextmanager
def workplace(directory):
    """A folder and a list for the servers that are started in it; all are stopped and the folder goes at the end, also
    when the end is a SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with contextlib.ExitStack() as leaving:  # goes on when one of them fails, and tells of each that did
        work = tempfile.mkdtemp(dir=directory)
        leaving.callback(shutil.rmtree, work)
        os.chmod(work, 0o755)  # some servers have users of their own
        servers = []
        try:
            yield work, servers
        finally:
            for server in reversed(servers):
                leaving.callback(server.stop)


@contextlib.contextmanager
def or_stop(server):
    """Around what is left to do when a server's process runs already: where that fails, nobody else would stop it."""
    try:
        yield
    except BaseException:
        server.stop()
        raise


def end(process, seconds=30):
    """Asks a process to end. One that does not is killed, and that is an error."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def folder(work, name):
    made = os.path.join(work, name)
    os.mkdir(made)
    return made


def rest(server):
    """Waits until a server has done what is left behind its turn (FastMail fills files with zeros, Postfix removes some):
    else that would be beside the next one's turn."""
    if not hasattr(server, "cpu"):
        return
    end, before = time.monotonic() + REST_SECONDS, server.cpu()
    while time.monotonic() < end:
        time.sleep(0.25)
        now = server.cpu()
        if now - before < 0.02:
            return
        before = now
    print(f"{server.name} was still at work after {REST_SECONDS} s", file=sys.stderr, flush=True)


def interleave(label, servers, drive, repetitions):
    """drive(server, is_warm_up) gives numbers by name; a list of them, one for each repetition, by server."""
    runs = {server.name: [] for server in servers}
    for repetition in range(repetitions + 1):
        first = repetition % len(servers)  # whatever a turn leaves behind on the disk meets each in turn
        for server in servers[first:] + servers[:first]:
            result = drive(server, repetition == 0)
            rest(server)
            if repetition:  # the first is warm-up
                runs[server.name].append(result)
        print(f"{label}: {repetition} of {repetitions}", file=sys.stderr, flush=True)
    return runs


def medians(label, runs, ratios):
    """A row for each server. ratios: column to f(own, all), own being its numbers of a repetition, all those of
    everybody in the same repetition, by name."""
    repetitions = [dict(zip(runs, results)) for results in zip(*runs.values())]
    for name, results in runs.items():
        row = {"case": label, "server": name}
        for key in results[0]:
            row[key] = statistics.median(result[key] for result in results)
        for column, ratio in ratios.items():
            row[column] = statistics.median(ratio(everybody[name], everybody) for everybody in repetitions)
        yield row


def run(arguments, servers, drive, ratios, line, facts=lambda case: {}):
    """All chosen cases; drive(server, case, is_warm_up). A row, with what facts(case) says, is printed by the format
    `line` as soon as it is there."""
    rows = []
    for case in arguments.cases:
        runs = interleave(case[0], servers, lambda server, is_warm_up: drive(server, case, is_warm_up),
                          arguments.repetitions)
        for row in medians(case[0], runs, ratios):
            row.update(facts(case))
            rows.append(row)
            if not arguments.json:
                print(line.format(**row), flush=True)
    if arguments.json:
        print(json.dumps(rows))


def rate_times(base):
    """How many times as fast base is: by its and one's own rate."""
    return lambda own, everybody: everybody[base]["rate"] / own["rate"]


def cpu_times(base):
    """How many times as much processor time as base one takes."""
    return lambda own, everybody: own["cpu"] / everybody[base]["cpu"]
