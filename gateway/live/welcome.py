"""From a proved identity to `connected`: people who come together are loaded together.

Guarantees: a connection is in the hub before its snapshot is taken, so that nothing stored since falls
between `connected` and the live frames; no database session is held while waiting for a browser.
Never: trusts a token about groups or roles; they are read here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from gateway.inbox import oldest_shown, unread_counts
from gateway.live import codes
from gateway.live.changes import ChangedPeople
from gateway.live.connection import Connection
from gateway.live.cursor import Cursor, cursor_at, read_snapshot
from gateway.live.encoding import json_frame
from gateway.live.hub import Hub
from gateway.live.presence import Presence
from gateway.live.replay import Tail
from gateway.people import Person, load_people
from gateway.transactions import in_transaction
from shared.errors import NotificationError, RateLimited, Unauthorized, Unavailable
from shared.logs import get_logger
from shared.models import User
from shared.settings import Settings

log = get_logger("live")

AT_ONCE = 500  # people loaded together: 30 ms


class Arrival(NamedTuple):
    """A connection, the external id that its credential proves, and the address it comes from."""

    connection: Connection
    person: str
    address: str


class Welcome:
    """Serves the arrivals that a Gatherer hands it."""

    refused: Callable[[Arrival, NotificationError], None]

    def __init__(self, settings: Settings, hub: Hub, tail: Tail, people: ChangedPeople, presence: Presence) -> None:
        self._settings = settings
        self._hub = hub
        self._tail = tail
        self._people = people
        self._presence = presence

    def serve(self, arrivals: list[Arrival]) -> None:
        """Bring these connections into the hub and greet them."""
        try:
            self._tail.begin()
            joined = self._join(arrivals)
            if joined:
                self._greet(joined)
        except Unavailable as error:
            log.warning("welcome_failed", count=len(arrivals), reason=str(error))
            _turn_away(arrivals, codes.UNAVAILABLE, "try again later")
        except Exception:
            log.exception("welcome_failed", count=len(arrivals))
            if len(arrivals) == 1:
                _turn_away(arrivals, codes.INTERNAL, "internal error")
            else:
                self._serve_apart(arrivals)

    def _serve_apart(self, arrivals: list[Arrival]) -> None:
        """One of them may be what fails: by halves, so that of 500 one bad costs 18 attempts and the others nothing."""
        waiting = [arrival for arrival in arrivals if arrival.connection.cursor is None]
        for arrival in waiting:
            self._hub.leave(arrival.connection)  # it joins again; what is stored meanwhile is in its new snapshot
        half = len(waiting) // 2
        for part in (waiting[:half], waiting[half:]):
            if part:
                self.serve(part)

    def _join(self, arrivals: list[Arrival]) -> list[Arrival]:
        names = list({arrival.person for arrival in arrivals})
        found = in_transaction(self._settings, lambda session: _find(session, names))
        joined = []
        for arrival in arrivals:
            connection = arrival.connection
            if connection.closing or connection.fd < 0:
                continue
            if arrival.person in found:
                user_id, changed_xid = found[arrival.person]
                if self._hub.tabs(user_id) >= self._settings.max_sockets_per_person:
                    connection.close(codes.TOO_MANY, "too many connections of this person")
                    self.refused(arrival, RateLimited("too many WebSockets of this person", limit="sockets"))
                    continue
                if user_id not in self._hub:
                    self._people.is_known(user_id, changed_xid)
                self._hub.join(connection, user_id)
                joined.append(arrival)
            else:
                self._refuse(arrival, codes.BAD_CREDENTIALS, "unknown person", "unknown_person")
        return joined

    def _greet(self, joined: list[Arrival]) -> None:
        names = list({arrival.person for arrival in joined})
        user_ids = list({arrival.connection.user_id for arrival in joined})
        oldest = oldest_shown(self._settings)

        def load(session: Session) -> tuple[Cursor, dict[str, Person], dict[int, int], int]:
            # Each statement sees at least what the cursor's snapshot saw: that one comes first.
            cursor = cursor_at(read_snapshot(session), self._tail.installation)
            people = load_people(session, names)
            return cursor, people, *unread_counts(session, user_ids, oldest)

        cursor, people, unread, version = in_transaction(self._settings, load)
        for arrival in joined:
            connection, person = arrival.connection, people.get(arrival.person)
            if connection.closing or connection.gate is None:
                continue
            if person is None or not person.is_active:
                self._refuse(arrival, codes.DEACTIVATED, "this person is deactivated", "deactivated")
                continue
            frame = json_frame(
                "connected",
                user=person.as_dict(),
                groups=person.groups,
                unread_count=unread.get(person.id, 0),
                version=version,
                cursor=cursor.text,
            )
            connection.cursor = cursor
            connection.queue(frame)
            for held in connection.gate.release():
                connection.queue(held)
            connection.flush()
            if connection.roles is None:  # else the tail was faster, and may have read later
                self._presence.have_roles([connection], person.roles)
            self._presence.joined(connection)
            log.debug("connected", user_id=person.id)

    def _refuse(self, arrival: Arrival, code: int, message: str, reason: str) -> None:
        arrival.connection.close(code, message)
        self.refused(arrival, Unauthorized(message, reason=reason))


def _turn_away(arrivals: list[Arrival], code: int, reason: str) -> None:
    for arrival in arrivals:
        if arrival.connection.cursor is None:
            arrival.connection.close(code, reason)


def _find(session: Session, external_ids: list[str]) -> dict[str, tuple[int, int]]:
    """The id of each person, and the transaction of their last change."""
    query = select(User.external_id, User.id, User.changed_xid)
    found = session.execute(query.where(User.external_id.in_(external_ids)))
    return {row.external_id: (row.id, row.changed_xid) for row in found}
