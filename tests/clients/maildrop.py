"""Fetches maildrops over poplib and tells the content from the trace fields in front of it."""

import poplib

from server import PASSWORD, USER


def open_maildrop(server, user=USER):
    pop = poplib.POP3("127.0.0.1", server.ports["pop3"], timeout=120)
    pop.user(user)
    pop.pass_(PASSWORD)
    return pop


def retrieve(pop, number):
    """The message as stored, trace fields included, and the octets that the server announced for it."""
    _, lines, octets = pop.retr(number)
    return b"".join(line + b"\r\n" for line in lines), octets


def content_of(message):
    """What the client sent: behind Return-Path and the first Received field with its folded lines."""
    assert message.startswith(b"Return-Path: <"), message[:200]
    at = message.index(b"\r\n") + 2
    assert message.startswith(b"Received: ", at), message[:400]
    at = message.index(b"\r\n", at) + 2
    while message[at:at + 1] in (b" ", b"\t"):
        at = message.index(b"\r\n", at) + 2
    return message[at:]
