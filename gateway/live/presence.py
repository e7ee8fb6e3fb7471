"""Who is connected through this gateway, for everyone to ask: rows of `websocket_connections`, and counts by role.

Arrivals and departures are gathered for a second and written together; whoever came and left within it
costs nothing. The counts are written with them, in one row for the whole gateway, counted afresh out of what
is open: they can't drift. Every 10 s the gateway, not each connection, says that it lives: one that is killed
is silent, and after 30 s its connections and counts are gone wherever they are read.

Never: delays a connect, or keeps anything per connection but a number and its person's roles.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import gevent
from gevent.event import Event
from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.live.connection import Connection
from gateway.live.limits import Limits
from gateway.transactions import in_transaction
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.settings import Settings

log = get_logger("live")

WRITTEN_AT_ONCE = 5000  # connections a statement: 40 ms
STOP_SECONDS = 1.0

REGISTER = text("INSERT INTO gateways (name) VALUES (:name) RETURNING id")
SAY_ALIVE = text("UPDATE gateways SET heard_at = now() WHERE id = :id RETURNING id")
FORGET = text("DELETE FROM gateways WHERE id = :id")
ADD = text("""
    INSERT INTO websocket_connections (gateway_id, number, user_id, connected_at)
    SELECT :id, number, user_id, now() - make_interval(secs => ago)
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:user_ids AS bigint[]), CAST(:ago AS double precision[])) AS joined (number, user_id, ago)
    ON CONFLICT DO NOTHING
""")
COUNT = text("""
    UPDATE gateways SET connections = :connections, people = :people, by_role = CAST(:by_role AS jsonb) WHERE id = :id
""")
REMOVE = text("DELETE FROM websocket_connections WHERE gateway_id = :id AND number = ANY(CAST(:numbers AS bigint[]))")


class Presence:
    """Writes who comes and goes. One greenlet; `connections` are all that are open."""

    def __init__(self, settings: Settings, limits: Limits, connections: Iterable[Connection]) -> None:
        self._settings = settings
        self._limits = limits
        self._connections = connections
        self._gateway_id: int | None = None
        self._said_at = 0.0
        self._last_number = 0
        self._joined: dict[int, tuple[int, float]] = {}  # number → user id, when; not written yet
        self._left: list[int] = []
        self._must_count = False  # someone here has other roles, or writing failed
        self._alike: dict[tuple[str, ...], tuple[str, ...]] = {}  # people of the same roles share one tuple
        self._something = Event()

    def joined(self, connection: Connection) -> None:
        """This connection has been welcomed."""
        self._last_number += 1
        connection.number = self._last_number
        self._joined[connection.number] = (connection.user_id, time.monotonic())
        self._something.set()

    def left(self, connection: Connection) -> None:
        if connection.number and self._joined.pop(connection.number, None) is None:
            self._left.append(connection.number)
            self._something.set()
        connection.number = 0

    def have_roles(self, connections: Iterable[Connection], roles: tuple[str, ...]) -> None:
        """The person of these connections has these roles from now on."""
        for connection in connections:
            connection.roles = self._alike.setdefault(roles, roles)
            if connection.number:
                self._must_count = True
                self._something.set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def finish(self) -> None:
        """After `stop`: say that this gateway is gone, and all its connections with it."""
        if self._gateway_id is not None:
            gevent.spawn(self._say_goodbye).join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._write()
            except Unavailable as error:
                log.warning("presence_failed", reason=str(error))
            except Exception:
                log.exception("presence_failed")
            gevent.sleep(self._limits.record_seconds)
            self._something.wait(max(0.0, self._said_at + self._limits.alive_seconds - time.monotonic()))
            self._something.clear()

    def _write(self) -> None:
        if self._gateway_id is None or time.monotonic() >= self._said_at + self._limits.alive_seconds:
            self._say_alive()
        while self._joined or self._left or self._must_count:
            joined = dict(list(self._joined.items())[:WRITTEN_AT_ONCE])
            left = self._left[:WRITTEN_AT_ONCE]
            # Whoever leaves while this is written has to be found as left.
            self._joined = {number: who for number, who in self._joined.items() if number not in joined}
            self._must_count = False
            try:
                in_transaction(self._settings, partial(self._change, joined=joined, left=left))
            except Exception:
                gone = set(self._left)
                self._joined = {number: who for number, who in joined.items() if number not in gone} | self._joined
                self._must_count = True
                self._something.set()
                raise
            del self._left[: len(left)]

    def _say_alive(self) -> None:
        """Register, or say that we live. Forgotten meanwhile (we slept): register anew with all who are here."""

        def say(session: Session) -> tuple[int, bool]:
            known = session.scalar(SAY_ALIVE, {"id": self._gateway_id}) if self._gateway_id else None
            return (known, False) if known else (session.execute(REGISTER, {"name": self._name()}).scalar_one(), True)

        self._gateway_id, is_new = in_transaction(self._settings, say)
        self._said_at = time.monotonic()
        if is_new:
            now = time.monotonic()
            here = [connection for connection in self._connections if connection.number]
            self._joined = {connection.number: (connection.user_id, now) for connection in here} | self._joined
            self._left.clear()

    def _say_goodbye(self) -> None:
        try:
            in_transaction(self._settings, lambda session: session.execute(FORGET, {"id": self._gateway_id}))
        except Unavailable:
            log.info("gateway_not_forgotten")

    def _name(self) -> str:
        return f"{socket.gethostname()}:{self._settings.port}/{os.getpid()}"

    def _change(self, session: Session, joined: dict[int, tuple[int, float]], left: list[int]) -> None:
        session.execute(text("SET LOCAL synchronous_commit = off"))  # after a crash of the server nobody is connected
        if joined:
            now = time.monotonic()
            values = {
                "id": self._gateway_id,
                "numbers": list(joined),
                "user_ids": [user_id for user_id, _ in joined.values()],
            }
            session.execute(ADD, {**values, "ago": [now - moment for _, moment in joined.values()]})
        if left:
            session.execute(REMOVE, {"id": self._gateway_id, "numbers": left})
        here = [one for one in self._connections if one.number and one.number not in self._joined]
        session.execute(COUNT, {"id": self._gateway_id, **count(here)})


def count(here: Sequence[Connection]) -> dict[str, Any]:
    """How many connections and people these are, in all and by role: 3 ms for 20,000."""
    roles_of = {connection.user_id: connection.roles or () for connection in here}
    people = Counter(roles_of.values())
    by_role: dict[str, dict[str, int]] = {}
    for roles, connections in Counter(connection.roles or () for connection in here).items():
        for role in roles:
            held = by_role.setdefault(role, {"connections": 0, "people": 0})
            held["connections"] += connections
            held["people"] += people[roles]
    return {"connections": len(here), "people": len(roles_of), "by_role": json.dumps(by_role)}
