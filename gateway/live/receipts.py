"""Step ⑦: what browsers say they have seen and read is written in batches, and told to the other tabs.

Marks of all browsers are gathered for 200 ms. Rows are locked in the order (recipient, event), as
everywhere, so that these writes and "mark all read" never deadlock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial

from sqlalchemy.orm import Session

from gateway.inbox import MAX_CHANGES, mark_read, mark_seen
from gateway.live.connection import Connection
from gateway.live.gatherer import Gatherer
from gateway.live.hub import Hub
from gateway.live.loop import LiveLoop
from gateway.live.protocol import send_error
from gateway.transactions import in_transaction
from shared.errors import Unavailable
from shared.settings import Settings
from shared.topics import StateMessage

PEOPLE_PER_TRANSACTION = 100

Receipt = tuple[int, bool, list[int]]  # user id, whether read (else seen), event ids


class Receipts:
    """Gathers and writes. `announce` publishes a StateMessage to all gateways, this one included."""

    def __init__(
        self, settings: Settings, loop: LiveLoop, hub: Hub, announce: Callable[[list[StateMessage]], None]
    ) -> None:
        self._settings = settings
        self._loop = loop
        self._hub = hub
        self._announce = announce
        self._gatherer = Gatherer("receipts", self._serve, wait_seconds=loop.limits.state_seconds, limit=2000)
        self.start = self._gatherer.start
        self.stop = self._gatherer.stop

    def put(self, connection: Connection, event_ids: list[int], *, read: bool) -> None:
        if event_ids:
            self._gatherer.put((connection.user_id, read, event_ids))

    def _serve(self, receipts: list[Receipt]) -> None:
        per_person: dict[int, tuple[set[int], set[int]]] = defaultdict(lambda: (set(), set()))
        for user_id, read, event_ids in receipts:
            per_person[user_id][read].update(event_ids)
        people = sorted(per_person)
        for start in range(0, len(people), PEOPLE_PER_TRANSACTION):
            some = people[start : start + PEOPLE_PER_TRANSACTION]
            try:
                changed = in_transaction(self._settings, partial(_write_all, per_person, some))
            except Unavailable as error:
                self._refuse(some, error)
            else:
                self._announce([message for message in changed if message.changes()])

    def _refuse(self, user_ids: list[int], error: Unavailable) -> None:
        """Nothing was marked: the browsers may say it again."""
        for user_id in user_ids:
            for connection in self._hub.of(user_id):
                send_error(connection, error)
        self._loop.flush()


def _write_all(
    per_person: dict[int, tuple[set[int], set[int]]], user_ids: list[int], session: Session
) -> list[StateMessage]:
    return [_write(session, user_id, *per_person[user_id]) for user_id in user_ids]


def _write(session: Session, user_id: int, seen: set[int], read: set[int]) -> StateMessage:
    message = StateMessage([user_id])
    for part in _parts(read):
        message.read += mark_read(session, user_id, part)
    for part in _parts(seen - read):
        message.seen += mark_seen(session, user_id, part)
    return message


def _parts(event_ids: set[int]) -> list[list[int]]:
    ordered = sorted(event_ids)
    return [ordered[start : start + MAX_CHANGES] for start in range(0, len(ordered), MAX_CHANGES)]
