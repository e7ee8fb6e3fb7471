"""The bound of a whole conversation holds also when there was no socket to cut at first."""

from __future__ import annotations

import socket

import pytest

from workers.delivery.deadline import Deadline


def test_whoever_waits_for_the_connection_is_let_go_when_the_time_is_over() -> None:
    here, there = socket.socketpair()
    with here, there, Deadline(0.1, lambda: here):
        here.settimeout(10)
        assert here.recv(1) == b""


def test_a_connection_that_is_made_too_late_is_cut_too() -> None:
    here, there = socket.socketpair()
    detached = socket.socket()
    detached.close()  # as a socket is while TLS begins on it
    found = iter((None, detached))
    with here, there, Deadline(0.05, lambda: next(found, here)):
        here.settimeout(10)
        assert here.recv(1) == b""


def test_in_time_nothing_is_cut_then_or_later() -> None:
    here, there = socket.socketpair()
    asked = []

    def find() -> socket.socket:
        asked.append(1)
        return here

    with here, there:
        with pytest.raises(ZeroDivisionError), Deadline(0.05, find):
            raise ZeroDivisionError
        there.settimeout(0.2)
        with pytest.raises(TimeoutError):
            there.recv(1)  # still open
    assert asked == []
