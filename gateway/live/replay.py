"""Step ⑥ without Redis: the tail reads stored batches, so that a lost message costs seconds.

Every 5 s, and at once after a hiccup of Redis, it reads the batches stored since its horizon and hands
out those that were not. The horizon is then the lower transaction bound of the very snapshot it read in:
whatever was not yet committed in it has a transaction id at or above it. So nothing is skipped, in
whatever order transactions commit, and what lies below the horizon has been handed out for good.

The same reading finds people whose groups, name or activity changed.

Never: one reading per connection; holds its transaction while sockets are written.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import gevent
from gevent.event import Event
from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from gateway.live.changes import ChangedPeople
from gateway.live.cursor import Cursor, Snapshot, as_one_snapshot, cursor_at, read_snapshot
from gateway.live.hub import Hub
from gateway.live.loop import LiveLoop
from gateway.transactions import in_transaction
from shared.errors import Unavailable
from shared.frames import notification_frame, notification_json
from shared.ids import EPOCH, SEQUENCE_BITS
from shared.installation import installation_id
from shared.logs import get_logger
from shared.settings import Settings

log = get_logger("live")

KEYS_PER_PAGE = 5000
BATCHES_PER_PAGE = 50  # of 1,000 people: 0.4 MB

Key = tuple[int, int]

STORED_KEYS = text("""
    SELECT stored_xid::text AS xid, event_id, n FROM event_batches
    WHERE stored_xid >= CAST(:horizon AS xid8)
      AND (stored_xid, event_id, n) > (CAST(:xid AS xid8), :event_id, :n)
    ORDER BY stored_xid, event_id, n LIMIT :limit
""")

BATCHES = text("""
    SELECT batch.n, batch.kind, batch.locale, batch.recipient_ids, event.*
    FROM event_batches batch JOIN notification_events event ON event.id = batch.event_id
    WHERE (batch.event_id, batch.n) IN (SELECT * FROM unnest(:event_ids, CAST(:ns AS integer[])))
    ORDER BY batch.event_id, batch.n
""").bindparams(bindparam("event_ids", type_=ARRAY(BigInteger)))


class Tail:
    """Reads on, from horizon to horizon. One greenlet; `ring` may be called from anywhere."""

    def __init__(self, settings: Settings, loop: LiveLoop, hub: Hub, people: ChangedPeople) -> None:
        self._settings = settings
        self._loop = loop
        self._hub = hub
        self._people = people
        self._rung = Event()
        self._horizon: int | None = None
        self._read_at = 0.0
        self.started = 0  # readings begun: the number of the latest
        self.installation = ""
        self.cursor: Cursor | None = None  # whatever was stored below it has been handed out

    def ring(self) -> None:
        """Read soon."""
        self._rung.set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        limits = self._loop.limits
        while True:
            # A little jitter, so that many gateways don't ask in step.
            self._rung.wait(limits.tail_seconds * random.uniform(0.9, 1.1))
            gevent.sleep(max(0.0, self._read_at + limits.tail_pause_seconds - time.monotonic()))
            self._rung.clear()
            try:
                self.begin()
                self.read()
            except Unavailable as error:
                log.warning("tail_failed", reason=str(error))
            except Exception:
                log.exception("tail_failed")
            self._read_at = time.monotonic()

    def begin(self) -> None:
        """Fix where this gateway starts, once, before anyone is here. Raises: Unavailable.

        What was stored before belongs to the past of every connection: its list or its resume has it.
        """
        if self._horizon is not None:
            return

        def first_look(session: Session) -> tuple[str, Snapshot, list[Key]]:
            as_one_snapshot(session)
            snapshot = read_snapshot(session)
            keys = [key for page in _stored_keys(session, snapshot.xmin) for _, key in page]
            return installation_id(session), snapshot, keys

        installation, snapshot, keys = in_transaction(self._settings, first_look)
        if self._horizon is not None:
            return  # another greenlet was faster
        next_second = int((snapshot.at - EPOCH).total_seconds()) + 1
        self._hub.sent.begin(floor=next_second << SEQUENCE_BITS, sent=keys)
        self.installation = installation
        self.cursor = cursor_at(snapshot, installation)
        self._people.begin(snapshot.xmin)
        self._horizon = snapshot.xmin

    def read(self) -> None:
        """Hand out what was stored and not yet handed out. Raises: Unavailable."""
        assert self._horizon is not None, "begin first"
        horizon = self._horizon
        self._hub.sent.settle()
        self.started += 1
        number = self.started
        still_open: set[int] = set()

        def read_on(session: Session) -> tuple[Snapshot, int]:
            as_one_snapshot(session)
            snapshot = read_snapshot(session)
            late = 0
            for page in _stored_keys(session, horizon):
                still_open.update(event_id for xid, (event_id, _) in page if xid >= snapshot.xmin)
                missed = [key for _, key in page if not self._hub.sent.has(*key)]
                late += self._hand_out(session, missed)
            self._people.read(session)
            return snapshot, late

        try:
            snapshot, late = in_transaction(self._settings, read_on)
        finally:
            self._loop.flush()  # what was claimed is ours to send, even if a later page failed
        self._hub.sent.forget(still_open)
        self._people.forget_before(snapshot.xmin)
        self._horizon = snapshot.xmin
        self.cursor = cursor_at(snapshot, self.installation)
        self._hub.tail_has_read(number)
        if late:
            log.info("tail_found_batches", count=late)

    def _hand_out(self, session: Session, missed: list[Key]) -> int:
        """Queue the frames of these batches; how many were still new (Redis may be faster)."""
        handed = 0
        frames: dict[tuple[int, str, str], bytes] = {}
        for start in range(0, len(missed), BATCHES_PER_PAGE):
            keys = missed[start : start + BATCHES_PER_PAGE]
            values = {"event_ids": [key[0] for key in keys], "ns": [key[1] for key in keys]}
            for row in session.execute(BATCHES, values).all():
                if not self._hub.sent.claim(row.id, row.n):
                    continue
                alike = (row.id, row.kind, row.locale)
                if alike not in frames:
                    frames[alike] = frame_of(row, row.kind, row.locale)
                self._hub.hand_out(row.id, row.n, row.recipient_ids, frames[alike])
                handed += 1
        return handed


def frame_of(event: Any, kind: str, locale: str, **person: Any) -> bytes:
    """The payload that a worker publishes for such a batch; `person` adds seen_at and read_at."""
    return notification_frame(kind, notification_json(event, locale, **person))


def _stored_keys(session: Session, horizon: int) -> Iterator[list[tuple[int, Key]]]:
    """Pages of (transaction, key) stored at or above the horizon, in that order."""
    values: dict[str, Any] = {"horizon": str(horizon), "limit": KEYS_PER_PAGE}
    values |= {"xid": str(horizon), "event_id": -1, "n": -1}
    while True:
        rows = session.execute(STORED_KEYS, values).all()
        if rows:
            yield [(int(row.xid), (row.event_id, row.n)) for row in rows]
        if len(rows) < KEYS_PER_PAGE:
            return
        values |= rows[-1]._mapping
