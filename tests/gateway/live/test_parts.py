"""The small parts on their own: what they remember, and when they forget."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest

from gateway.live.connection import Connection
from gateway.live.cursor import NoCursor, Snapshot, cursor_at, read_cursor
from gateway.live.encoding import text_frame
from gateway.live.gate import Gate
from gateway.live.limits import Limits
from gateway.live.loop import LiveLoop
from gateway.live.sent import SentBatches
from tests.swarm import CLOSE, TEXT, server_frame

NOW = Snapshot(xmin=700, at=datetime(2026, 3, 1, 12, tzinfo=UTC))
INSTALLATION = "0a1b2c3d-0000-0000-0000-000000000000"


def test_a_batch_is_claimed_once():
    sent = SentBatches(limit=10)
    assert sent.claim(5, 0)
    assert sent.claim(5, 1)
    assert not sent.claim(5, 0)
    sent.settle()
    assert not sent.claim(5, 1)
    assert sent.has(5, 0)
    assert not sent.has(5, 2)


def test_forgotten_events_are_left_to_the_tail():
    sent = SentBatches(limit=3)
    sent.begin(floor=10, sent=[])
    for event_id in range(10, 20):
        sent.claim(event_id, 0)
    sent.settle()
    sent.forget(still_open={10, 11})
    assert sent.has(10, 0)  # the tail may read it again
    assert sent.has(11, 0)
    assert not sent.has(12, 0)
    assert sent.floor == 19  # whatever is below and unknown may have been sent
    assert len(sent) == 3


def test_before_it_begins_everything_is_left_to_the_tail():
    assert SentBatches(limit=3).floor > 1 << 53


def test_a_gate_holds_remembers_and_stops():
    gate = Gate(now=0.0)
    assert not gate.lets_pass(1, b"one")
    assert gate.release() == [b"one"]
    assert gate.passed == [1]
    gate.hold()
    assert not gate.lets_pass(2, b"two")
    assert not gate.lets_pass(3, b"three")
    gate.stop({2}, until_tail=8)
    assert gate.release() == [b"three"]
    assert not gate.lets_pass(2, b"two")
    assert gate.lets_pass(4, b"four")
    assert not gate.is_over(7, now=1e9, resume_within_seconds=30)
    assert gate.is_over(8, now=0.0, resume_within_seconds=30)


def test_a_gate_without_resume_goes_away_in_time():
    gate = Gate(now=100.0)
    assert not gate.is_over(5, now=1000.0, resume_within_seconds=30)  # not welcomed yet
    gate.release()
    assert not gate.is_over(5, now=120.0, resume_within_seconds=30)
    assert gate.is_over(5, now=131.0, resume_within_seconds=30)


def test_a_cursor_is_read_as_it_was_written():
    assert read_cursor(cursor_at(NOW, INSTALLATION).text, INSTALLATION, NOW) == 700


@pytest.mark.parametrize(
    ("snapshot", "installation", "reason"),
    [
        (Snapshot(700, NOW.at - timedelta(hours=25)), INSTALLATION, "older than a day"),
        (Snapshot(701, NOW.at), INSTALLATION, "another database"),
        (Snapshot(700, NOW.at + timedelta(hours=1)), INSTALLATION, "another database"),
        (NOW, "ffffffff-0000", "another installation"),
    ],
)
def test_a_cursor_of_elsewhere_or_long_ago_is_refused(snapshot, installation, reason):
    with pytest.raises(NoCursor, match=reason):
        read_cursor(cursor_at(snapshot, installation).text, INSTALLATION, NOW)


@pytest.fixture
def pair():
    """A parked connection with a small buffer, and its peer's socket."""
    ours, peer = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.setblocking(False)
    loop = LiveLoop(Limits(buffer_bytes=100_000))
    loop.on_gone = lambda connection: None
    connection = loop.park(ours.detach())
    yield connection, peer
    loop.drop(connection)
    peer.close()


def read_all(connection: Connection, peer: socket.socket) -> list[tuple[int, bytes]]:
    """Everything the peer gets, while the connection writes whenever it can."""
    peer.settimeout(0.05)
    data, frames = b"", []
    while True:
        if connection.backlog is not None:
            connection.backlog.write(connection)
        try:
            got = peer.recv(65536)
        except TimeoutError:
            break
        if not got:
            break
        data += got
    while (frame := server_frame(data)) is not None:
        opcode, payload, data = frame
        frames.append((opcode, payload))
    assert data == b"", "a frame was torn"
    return frames


def test_what_the_socket_does_not_take_waits_and_arrives_in_order(pair):
    connection, peer = pair
    payloads = [b"%d:" % n + b"x" * 5000 for n in range(15)]
    for payload in payloads:
        connection.queue(text_frame(payload))
        connection.flush()
    assert connection.backlog is not None
    assert [payload for _, payload in read_all(connection, peer)] == payloads
    assert connection.backlog is None


def test_beyond_its_buffer_a_connection_is_closed_after_whole_frames(pair):
    connection, peer = pair
    for n in range(100):
        connection.queue(text_frame(b"%d:" % n + b"x" * 5000))
        connection.flush()
    assert connection.closing
    frames = read_all(connection, peer)
    assert frames[-1][0] == CLOSE
    assert int.from_bytes(frames[-1][1][:2], "big") == 4001
    assert {opcode for opcode, _ in frames[:-1]} == {TEXT}


def test_a_replay_may_exceed_the_buffer_by_its_own_size(pair):
    connection, peer = pair
    for _ in range(100):
        connection.queue(text_frame(b"x" * 5000))
    connection.flush(extra_bytes=500_000)
    assert not connection.closing
    assert len(read_all(connection, peer)) == 100


def test_frames_queued_together_leave_in_one_write(pair, monkeypatch):
    connection, _ = pair
    writes = []
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or len(data))
    for payload in (b"1", b"2", b"3"):
        connection.queue(text_frame(payload))
    connection.flush()
    assert writes == [b"".join(text_frame(payload) for payload in (b"1", b"2", b"3"))]


def test_a_descriptor_is_closed_once(pair):
    connection, _ = pair
    loop, fd = connection.loop, connection.fd
    loop.drop(connection)
    reused = os.open(os.devnull, os.O_RDONLY)
    assert reused == fd
    loop.drop(connection)
    connection.queue(b"late")
    connection.flush()
    os.fstat(reused)
    os.close(reused)
