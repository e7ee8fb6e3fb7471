"""Step ⑥, the socket side: one event-driven loop holds every parked connection.

Guarantees: a wake-up reads a bounded piece of one socket, so a flooding browser can't starve others; no
exception of one connection reaches another; a descriptor is closed exactly once.
Never: waits. Whatever needs the database or Redis is handed to a greenlet.

A connection costs one gevent io watcher and no greenlet: 0.6 KiB of the process instead of 40.
"""

from __future__ import annotations

import _socket  # the one that gevent does not patch: a shutdown needs no watchers
import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import gevent

from gateway.live import codes
from gateway.live.connection import Connection
from gateway.live.limits import Limits
from shared.logs import get_logger

log = get_logger("live")

READ, WRITE = 1, 2  # libev's events
FLUSH_SLICE = 500  # connections written before others may run: 10 ms


class LiveLoop:
    """The parked connections of this process. Not thread-safe: one process, one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.now = time.monotonic()  # of the last sweep; one float object shared by all who ask
        self.connections: set[Connection] = set()
        self.touched: list[Connection] = []
        self.slow: set[Connection] = set()
        self.goodbyes: dict[Connection, float] = {}  # closing → when to stop waiting for the peer
        self.closed: dict[int, int] = {}  # close code → how often we closed with it
        self.on_bytes: Callable[[Connection, bytes], None]
        self.on_gone: Callable[[Connection], None]

    def park(self, fd: int) -> Connection:
        """Take over a connected, non-blocking socket after its handshake."""
        connection = Connection(self, fd)
        self.connections.add(connection)
        connection.reader = gevent.get_hub().loop.io(fd, READ)
        connection.reader.start(self._readable, connection)
        return connection

    def received(self, connection: Connection, data: bytes) -> None:
        """Bytes of a browser, from the socket or from behind its handshake."""
        if connection.fd < 0:
            return
        connection.heard_at = self.now
        connection.pinged = False
        if connection.closing:
            return
        try:
            self.on_bytes(connection, data)
        except Exception:
            log.exception("message_failed", user_id=connection.user_id)
            connection.close(codes.INTERNAL, "internal error")
        connection.flush()

    def flush(self) -> None:
        """Write what is queued for all connections, giving others a turn now and then."""
        while self.touched:
            touched, self.touched = self.touched, []
            for position, connection in enumerate(touched, 1):
                connection.flush()
                if position % FLUSH_SLICE == 0:
                    gevent.sleep(0)

    def says_goodbye(self, connection: Connection, code: int, reason: str) -> None:
        """A close frame is about to be queued."""
        self.closed[code] = self.closed.get(code, 0) + 1
        self.goodbyes[connection] = time.monotonic() + self.limits.close_seconds
        log.debug("closing", code=code, reason=reason, user_id=connection.user_id)
        self.on_gone(connection)

    def half_close(self, connection: Connection) -> None:
        """The close frame is out: end our side, so that the peer ends its own at once."""
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, connection.fd)
        with contextlib.suppress(OSError):
            sock.shutdown(_socket.SHUT_WR)
        sock.detach()

    def drop(self, connection: Connection) -> None:
        """Close the descriptor and forget the connection."""
        if connection.fd < 0:
            return
        connection.reader.stop()
        if connection.backlog is not None:
            self.unwatch_writes(connection, connection.backlog.watcher)
        os.close(connection.fd)
        connection.fd = -1
        connection.reader = connection.backlog = connection.unfinished = connection.outgoing = (
            connection.unconfirmed
        ) = None
        self.connections.discard(connection)
        if self.goodbyes.pop(connection, None) is None:
            self.on_gone(connection)
            log.debug("lost", user_id=connection.user_id)

    def watch_writes(self, connection: Connection) -> Any:
        self.slow.add(connection)
        watcher = gevent.get_hub().loop.io(connection.fd, WRITE)
        watcher.start(self._writable, connection)
        return watcher

    def unwatch_writes(self, connection: Connection, watcher: Any) -> None:
        self.slow.discard(connection)
        watcher.stop()

    def _readable(self, connection: Connection) -> None:
        try:
            data = os.read(connection.fd, self.limits.read_bytes)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(connection, data)
        else:
            self.drop(connection)

    def _writable(self, connection: Connection) -> None:
        if connection.backlog is not None:
            connection.backlog.write(connection)
