"""Step ⑦: which notifications have reached a browser: those before a frame that came back from it.

That the kernel took the bytes says nothing; a ping, a pong or any message that comes afterwards says that
the browser is still there to have read them. (One that was already under way when the notification was
written says so too early, by the time of one way.) Who has confirmed a batch is kept as a bit per person
of the batch, in its order. So several tabs, several gateways, a replay or a second try count once, and
there is no row per recipient, but for `delivered_at` of critical events, on which their e-mail depends.

Guarantees: what is told here is written within about a second, or when the database is back, as far as
MOST_WAITING goes; a gateway that is killed loses at most that second.
Never: waits for the database where a browser is served.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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

WRITTEN_AT_ONCE = 2000  # confirmations a transaction
CRITICAL_AT_ONCE = 1000  # rows locked by one statement
MOST_WAITING = 100_000  # confirmations kept while the database is away
RETRY_SECONDS = 1.0
REPLAYED = -1  # instead of a batch's number: found when written

# A batch that was cleaned away has no receipt any more. Held until this commits, those that get their first can't
# go meanwhile; one that somebody is just deleting is waited for, and passed over.
ADD_RECEIPTS = text("""
    WITH batch AS MATERIALIZED (
        SELECT event_id, n FROM event_batches
        JOIN unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS asked (id, number) ON event_id = id AND n = number
        WHERE NOT EXISTS (SELECT FROM batch_receipts receipt WHERE receipt.event_id = id AND receipt.n = number)
        ORDER BY event_id, n FOR KEY SHARE OF event_batches
    )
    INSERT INTO batch_receipts (event_id, n) SELECT event_id, n FROM batch ORDER BY event_id, n
    ON CONFLICT DO NOTHING
""")
LOCK_RECEIPTS = text("""
    SELECT event_id, n, delivered FROM batch_receipts
    JOIN unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS asked (id, number) ON event_id = id AND n = number
    ORDER BY event_id, n FOR UPDATE OF batch_receipts
""")
WRITE_RECEIPTS = text("""
    UPDATE batch_receipts SET delivered = bits
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[]), CAST(:bits AS bytea[])) AS given (id, number, bits)
    WHERE event_id = id AND n = number
""")
# People of a batch ascend, so its ends tell who can be in it: 20 ms for an event of 1,000,000 people, not
# 200. What a browser says it has is asked only for events that are really its own.
PLACES = text("""
    WITH asked AS MATERIALIZED (
        SELECT DISTINCT own.event_id, own.recipient_id
        FROM unnest(CAST(:event_ids AS bigint[]), CAST(:user_ids AS bigint[])) AS given (id, person)
        JOIN notifications own ON own.recipient_id = person AND own.event_id = id
    ), batch AS MATERIALIZED (
        SELECT event_id, n, recipient_ids[1] AS lowest, recipient_ids[cardinality(recipient_ids)] AS highest FROM event_batches
        WHERE event_id IN (SELECT event_id FROM asked)
    )
    SELECT event_id, n, array_position(recipient_ids, recipient_id) - 1, recipient_id
    FROM asked JOIN batch USING (event_id) JOIN event_batches USING (event_id, n)
    WHERE recipient_id BETWEEN lowest AND highest AND recipient_id = ANY (recipient_ids)
""")
NOTE_DELIVERED = text("""
    INSERT INTO count_changes (what, event_ids, user_ids)
    VALUES ('delivered', CAST(:event_ids AS bigint[]), CAST(:user_ids AS bigint[]))
""")
CRITICAL = text(
    "SELECT id FROM notification_events WHERE id = ANY(CAST(:events AS bigint[])) AND priority = 'critical'"
)
# The inner statement locks in order, as everywhere.
MARK_DELIVERED = text("""
    UPDATE notifications SET delivered_at = now()
    FROM (SELECT recipient_id AS person, event_id AS id FROM notifications
          WHERE (recipient_id, event_id) IN (SELECT * FROM unnest(CAST(:user_ids AS bigint[]), CAST(:event_ids AS bigint[])))
            AND event_id = ANY(CAST(:event_ids AS bigint[])) AND delivered_at IS NULL
          ORDER BY recipient_id, event_id FOR UPDATE) AS locked
    WHERE recipient_id = person AND event_id = id
""")
NOTE_TIMES = text("""
    INSERT INTO socket_times (event_id, people, handed_at)
    SELECT id, people, clock_timestamp() - make_interval(secs => ago)
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:people AS integer[]), CAST(:ago AS double precision[])) AS handed (id, people, ago)
""")


class Handed:
    """A batch that was handed out here: one object for all connections that got it.

    `places` has the position in the batch of everyone here; empty for a replay.
    """

    __slots__ = ("event_id", "n", "places")

    def __init__(self, event_id: int, n: int, places: Mapping[int, int]) -> None:
        self.event_id = event_id
        self.n = n
        self.places = places


class Receipt(NamedTuple):
    """Someone has confirmed their place in a batch."""

    event_id: int
    n: int
    place: int
    user_id: int


class Deliveries:
    """Gathers confirmations and times, and writes them. One greenlet."""

    def __init__(self, settings: Settings, limits: Limits) -> None:
        self._settings = settings
        self._seconds = limits.record_seconds
        self._confirmed: list[tuple[Handed, int]] = []
        self._times: list[tuple[int, int, float]] = []  # event id, people, when
        self._something = Event()

    def handed(self, batch: Handed) -> None:
        """These frames are being written now."""
        if len(self._times) < MOST_WAITING:
            self._times.append((batch.event_id, len(batch.places), time.monotonic()))
            self._something.set()

    def heard(self, connection: Connection) -> None:
        """Something came back: what was written before has arrived. Of a full socket nobody can tell."""
        gate = connection.gate
        if connection.backlog is not None or connection.outgoing is not None or (gate is not None and gate.holds):
            return
        waiting, connection.unconfirmed = connection.unconfirmed, None
        if isinstance(waiting, Handed):
            self.confirm(waiting, connection.user_id)
        else:
            for batch in waiting or ():
                self.confirm(batch, connection.user_id)

    def confirm(self, batch: Handed, user_id: int) -> None:
        """This person has it."""
        if len(self._confirmed) < MOST_WAITING:
            self._confirmed.append((batch, user_id))
            self._something.set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def finish(self) -> None:
        """After `stop`: write what was gathered last, if the database answers at once."""
        gevent.spawn(self._write_all).join(RETRY_SECONDS)

    def _run(self) -> None:
        while True:
            self._something.wait()
            gevent.sleep(self._seconds)
            self._something.clear()
            if not self._write_all():
                gevent.sleep(RETRY_SECONDS)
                self._something.set()

    def _write_all(self) -> bool:
        """Whether the database took everything; if it is away, the rest is kept."""
        confirmed, self._confirmed = self._confirmed, []
        times, self._times = self._times, []
        while confirmed or times:
            some, handed = confirmed[:WRITTEN_AT_ONCE], times[:WRITTEN_AT_ONCE]
            try:
                in_transaction(self._settings, lambda session, some=some, handed=handed: _write(session, some, handed))  # type: ignore[misc]
            except Unavailable:
                # Behind the others, so that what takes too long can't hold them up.
                self._confirmed += confirmed[WRITTEN_AT_ONCE:] + some
                self._times += times[WRITTEN_AT_ONCE:] + handed
                return False
            except Exception:
                log.exception("deliveries_failed", count=len(some))
            confirmed, times = confirmed[WRITTEN_AT_ONCE:], times[WRITTEN_AT_ONCE:]
        return True


def _write(session: Session, confirmed: Sequence[tuple[Handed, int]], times: Sequence[tuple[int, int, float]]) -> None:
    session.execute(text("SET LOCAL synchronous_commit = off"))  # a crash of the server may cost the last of these
    receipts = [
        Receipt(batch.event_id, batch.n, batch.places[user_id], user_id)
        for batch, user_id in confirmed
        if batch.n != REPLAYED
    ]
    receipts += _find_places(
        session, [(batch.event_id, user_id) for batch, user_id in confirmed if batch.n == REPLAYED]
    )
    if receipts:
        write_receipts(session, receipts)
    if times:
        now = time.monotonic()
        values = {"event_ids": [event_id for event_id, _, _ in times], "people": [people for _, people, _ in times]}
        session.execute(NOTE_TIMES, {**values, "ago": [now - moment for _, _, moment in times]})


def _find_places(session: Session, pairs: Sequence[tuple[int, int]]) -> list[Receipt]:
    """The places of people who got a replay."""
    if not pairs:
        return []
    values = {"event_ids": [event_id for event_id, _ in pairs], "user_ids": [user_id for _, user_id in pairs]}
    return [Receipt(*row) for row in session.execute(PLACES, values)]


def write_receipts(session: Session, receipts: Iterable[Receipt]) -> int:
    """Set the bits of these people, and note for the counts those that were not set; how many that were.

    Rows are locked in the order (event_id, n), so that gateways wait for each other, and never in a ring.
    """
    asked: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for event_id, n, place, user_id in receipts:
        asked[event_id, n][place] = user_id
    keys = {"event_ids": [event_id for event_id, _ in asked], "ns": [n for _, n in asked]}
    session.execute(ADD_RECEIPTS, keys)
    changed: list[tuple[int, int, bytes]] = []
    new: list[tuple[int, int]] = []  # event id, user id
    for event_id, n, delivered in session.execute(LOCK_RECEIPTS, keys).all():
        places = asked[event_id, n]
        bits = bytearray(delivered).ljust(max(places) // 8 + 1, b"\0")
        before = len(new)
        for place, user_id in places.items():
            if not bits[place // 8] & 1 << place % 8:
                bits[place // 8] |= 1 << place % 8
                new.append((event_id, user_id))
        if len(new) > before:
            changed.append((event_id, n, bytes(bits)))
    if new:
        values: dict[str, Any] = {
            "event_ids": [event_id for event_id, _, _ in changed],
            "ns": [n for _, n, _ in changed],
        }
        session.execute(WRITE_RECEIPTS, {**values, "bits": [bits for _, _, bits in changed]})
        session.execute(
            NOTE_DELIVERED,
            {"event_ids": [event_id for event_id, _ in new], "user_ids": [user_id for _, user_id in new]},
        )
        _mark_critical(session, new)
    return len(new)


def _mark_critical(session: Session, new: Sequence[tuple[int, int]]) -> None:
    critical = set(session.scalars(CRITICAL, {"events": list({event_id for event_id, _ in new})}))
    rows = sorted((user_id, event_id) for event_id, user_id in new if event_id in critical)
    for start in range(0, len(rows), CRITICAL_AT_ONCE):
        some = rows[start : start + CRITICAL_AT_ONCE]
        session.execute(
            MARK_DELIVERED,
            {"user_ids": [user_id for user_id, _ in some], "event_ids": [event_id for _, event_id in some]},
        )
