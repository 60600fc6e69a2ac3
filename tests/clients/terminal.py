"""A program on a pseudo-terminal, and what a person would see of it."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

ROWS, COLUMNS = 40, 120

# What the display uses: the cursor goes up, is hidden and shown, lines are erased, and all below it is.
SEQUENCE = re.compile(r"\x1b\[(\??)(\d*(?:;\d+)*)([A-Za-z])|\x1b[=>]")


class Seen:
    """said: everything written; screen: the lines that are left of it; code: the exit code."""

    def __init__(self, said, are_modes_kept, code):
        self.said = said
        self.code = code
        self.are_modes_kept = are_modes_kept
        self.is_cursor_shown = said.rfind("\x1b[?25l") <= said.rfind("\x1b[?25h")
        self.screen = replay(said)


def replay(said):
    lines, row, column, at = [""], 0, 0, 0
    while at < len(said):
        if sequence := SEQUENCE.match(said, at):
            private, numbers, letter = sequence.groups(default="")
            at = sequence.end()
            if letter == "A":
                row = max(0, row - int(numbers or 1))
            elif letter == "K" and numbers == "2":
                lines[row] = ""
            elif letter == "J" and numbers == "":
                lines[row:] = [lines[row][:column]]
            elif letter and letter != "m" and not private:
                raise AssertionError(f"what is {sequence.group()!r}?")
            continue
        letter, at = said[at], at + 1
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row += 1
            lines += [""] if row == len(lines) else []
        else:
            assert letter != "\x1b", said[at - 1:at + 20]
            line = lines[row].ljust(column)
            lines[row] = line[:column] + letter + line[column + 1:]
            column += 1
    return lines


def run(command, environment=None, timeout=120):
    """Runs a command to its end with a terminal for standard output and standard error."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    before = termios.tcgetattr(theirs)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm-256color", **(environment or {})})
    os.set_blocking(ours, False)
    said, code = b"", None
    try:
        while code is None:
            try:
                code = process.wait(0.1)
            except subprocess.TimeoutExpired:
                timeout -= 0.1
                assert timeout > 0, said
            said += drain(ours)
        return Seen(said.decode(), termios.tcgetattr(theirs) == before, code)
    finally:
        if code is None:
            process.kill()
            process.wait()
        os.close(theirs)
        os.close(ours)


def drain(descriptor):
    said = b""
    while True:
        try:
            said += os.read(descriptor, 65536)
        except BlockingIOError:
            return said
