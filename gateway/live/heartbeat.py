"""One periodic sweep over all connections: who is silent, stalled, expired or never said who they are.

A timer per connection would cost more than the connection; a sweep over 20,000 takes 3 ms.
"""

from __future__ import annotations

import time
from collections import Counter

import gevent

from gateway.live import codes
from gateway.live.connection import Connection
from gateway.live.encoding import PING
from gateway.live.loop import LiveLoop
from shared.logs import get_logger

log = get_logger("live")


class Anonymous:
    """Connections that have not proved who they are, counted per address."""

    def __init__(self) -> None:
        self._since: dict[Connection, tuple[str, float]] = {}
        self._per_address: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._since)

    def add(self, connection: Connection, address: str) -> None:
        self._since[connection] = (address, time.monotonic())
        self._per_address[address] += 1

    def discard(self, connection: Connection) -> None:
        found = self._since.pop(connection, None)
        if found:
            self._per_address[found[0]] -= 1
            if not self._per_address[found[0]]:
                del self._per_address[found[0]]

    def address(self, connection: Connection) -> str:
        """Where one of them comes from."""
        return self._since[connection][0]

    def of(self, address: str) -> int:
        return self._per_address[address]

    def waiting_since_before(self, moment: float) -> list[Connection]:
        """Oldest first: the dictionary keeps the order of arrival."""
        late = []
        for connection, (_, since) in self._since.items():
            if since >= moment:
                break
            late.append(connection)
        return late


class Heartbeat:
    """The greenlet that sweeps."""

    def __init__(self, loop: LiveLoop, anonymous: Anonymous) -> None:
        self._loop = loop
        self._anonymous = anonymous
        self._limits = loop.limits

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            gevent.sleep(self._limits.sweep_seconds)
            try:
                self.sweep()
            except Exception:
                log.exception("sweep_failed")

    def sweep(self) -> None:
        """Look at every connection once."""
        loop, limits = self._loop, self._limits
        now = time.monotonic()
        overslept, loop.now = now - loop.now > limits.overslept_seconds, now
        for connection in self._anonymous.waiting_since_before(now - limits.authenticate_seconds):
            connection.close(codes.NOT_AUTHENTICATED, "not authenticated in time")
        for connection in list(loop.slow):
            backlog = connection.backlog
            if backlog is not None and backlog.progress_at < now - limits.stalled_seconds:
                connection.close(codes.TOO_SLOW, "reading too slowly")
        for connection in [c for c, until in loop.goodbyes.items() if until < now]:
            loop.drop(connection)
        if overslept:
            # It was us who did not listen (the process was stopped): what came meanwhile is still unread.
            for connection in loop.connections:
                connection.heard_at = now
        self._ask_the_silent(now)

    def _ask_the_silent(self, now: float) -> None:
        loop = self._loop
        ask_before = now - self._limits.ping_after_seconds
        lost_before = now - self._limits.lost_after_seconds
        wall_clock = time.time()
        for connection in list(loop.connections):
            if 0.0 < connection.expires_at < wall_clock:
                connection.close(codes.TOKEN_EXPIRED, "token expired")
            elif connection.heard_at < ask_before:
                if connection.heard_at < lost_before:
                    connection.close(codes.LOST, "nothing heard")
                elif not connection.pinged:
                    connection.pinged = True
                    connection.queue(PING)
        loop.flush()
