"""A browser that was away gets what it missed, once, or `reset`: load afresh.

Missed is what was stored for the person at or above the cursor's transaction bound, is not deleted, and
is neither among the ids the browser says it has nor written to this connection since it joined. Live
frames wait meanwhile at the connection's gate, which also stops batches that were in the replay and are
published only later (see gate.py).

Browsers that come back together are served by the same few statements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from gateway.live import codes
from gateway.live.connection import Connection
from gateway.live.cursor import (
    Cursor,
    NoCursor,
    as_one_snapshot,
    cursor_at,
    read_cursor,
    read_snapshot,
)
from gateway.live.deliveries import REPLAYED, Handed
from gateway.live.encoding import json_frame, text_frame
from gateway.live.loop import LiveLoop
from gateway.live.replay import Tail, frame_of
from gateway.transactions import in_transaction
from shared.errors import Unavailable
from shared.frames import NOTIFICATION, choose_locale
from shared.ids import first_event_id_at
from shared.logs import get_logger
from shared.models import NotificationEvent
from shared.settings import Settings

log = get_logger("live")

AT_ONCE = 50  # browsers per reading
# A cursor is at most a day old, and what was stored since can be of an event that waited a day.
OLDEST_EVENT = timedelta(hours=48)

MISSED = text("""
    SELECT asked.number, missed.event_id, missed.seen_at, missed.read_at
    FROM unnest(:numbers, :user_ids, :xmins) AS asked (number, user_id, xmin)
    CROSS JOIN LATERAL (
        SELECT event_id, seen_at, read_at FROM notifications
        WHERE recipient_id = asked.user_id AND event_id >= :oldest
          AND stored_xid >= CAST(asked.xmin AS xid8)
          AND deleted_at IS NULL AND archived_at IS NULL
        ORDER BY event_id LIMIT :limit
    ) missed
    ORDER BY asked.number, missed.event_id
""").bindparams(
    bindparam("numbers", type_=ARRAY(BigInteger)),
    bindparam("user_ids", type_=ARRAY(BigInteger)),
    bindparam("xmins", type_=ARRAY(Text)),
)

# Nearly every event has one kind and one locale: then no list of recipients need be read.
LOOKS = text("""
    SELECT event_id, kind, locale FROM event_batches
    WHERE event_id = ANY (:event_ids) GROUP BY event_id, kind, locale
""").bindparams(bindparam("event_ids", type_=ARRAY(BigInteger)))

LOOK_OF_PERSON = text("""
    SELECT asked.event_id, asked.user_id, batch.kind, batch.locale
    FROM unnest(:event_ids, :user_ids) AS asked (event_id, user_id)
    JOIN event_batches batch
      ON batch.event_id = asked.event_id AND asked.user_id = ANY (batch.recipient_ids)
""").bindparams(bindparam("event_ids", type_=ARRAY(BigInteger)), bindparam("user_ids", type_=ARRAY(BigInteger)))


@dataclass(slots=True)
class Request:
    """One `resume` frame, and what is found for it."""

    connection: Connection
    cursor: str
    have: frozenset[int]
    written: frozenset[int]  # live, since the connection joined
    reset: str = ""  # the reason why nothing is replayed
    event_ids: list[int] | None = None
    frames: list[bytes] | None = None


class Resume:
    """Serves the requests that a Gatherer hands it."""

    def __init__(self, settings: Settings, loop: LiveLoop, tail: Tail, confirm: Callable[[Handed, int], None]) -> None:
        self._settings = settings
        self._loop = loop
        self._tail = tail
        self._confirm = confirm

    def serve(self, requests: list[Request]) -> None:
        """Answer each with the missed frames and `resumed`, or with `reset`."""
        try:
            cursor, until_tail = in_transaction(self._settings, lambda s: self._find(s, requests))
        except Unavailable as error:
            log.warning("resume_failed", count=len(requests), reason=str(error))
            for request in requests:
                request.connection.close(codes.UNAVAILABLE, "try again later")
            return
        except Exception:
            log.exception("resume_failed", count=len(requests))
            for request in requests:
                request.connection.close(codes.INTERNAL, "internal error")
            return
        for request in requests:
            self._answer(request, cursor, until_tail)

    def _find(self, session: Session, requests: list[Request]) -> tuple[Cursor, int]:
        as_one_snapshot(session)
        now = read_snapshot(session)
        until_tail = self._tail.started + 1  # a reading that begins after this snapshot
        asked: dict[int, tuple[Request, int]] = {}
        for number, request in enumerate(requests):
            request.reset, request.event_ids, request.frames = "", [], []
            try:
                xmin = read_cursor(request.cursor, self._tail.installation, now)
                asked[number] = (request, xmin)
            except NoCursor as reason:
                request.reset = str(reason)
        if asked:
            self._replay(session, asked, first_event_id_at(now.at - OLDEST_EVENT))
        return cursor_at(now, self._tail.installation), until_tail

    def _replay(self, session: Session, asked: dict[int, tuple[Request, int]], oldest: int) -> None:
        limits = self._loop.limits
        values = {
            "numbers": list(asked),
            "user_ids": [request.connection.user_id for request, _ in asked.values()],
            "xmins": [str(xmin) for _, xmin in asked.values()],
            "oldest": oldest,
            "limit": limits.replayed
            + 1
            + max(len(request.have) + len(request.written) for request, _ in asked.values()),
        }
        missed: dict[int, list[Any]] = {number: [] for number in asked}
        for row in session.execute(MISSED, values):
            request = asked[row.number][0]
            if row.event_id not in request.have and row.event_id not in request.written:
                missed[row.number].append(row)
        for number, rows in missed.items():
            if len(rows) > limits.replayed:
                asked[number][0].reset = f"more than {limits.replayed} notifications were missed"
                rows.clear()
        pairs = [(row.event_id, asked[n][0].connection.user_id) for n, rows in missed.items() for row in rows]
        events = _events(session, {event_id for event_id, _ in pairs})
        looks = _looks(session, pairs)
        alike: dict[tuple[Any, ...], bytes] = {}  # many missed the same
        for number, rows in missed.items():
            request = asked[number][0]
            for row in rows:
                kind, locale = looks.get((row.event_id, request.connection.user_id)) or (
                    NOTIFICATION,  # its batch is gone already
                    choose_locale(events[row.event_id].texts, None, self._settings.default_locale),
                )
                key = (row.event_id, kind, locale, row.seen_at, row.read_at)
                if key not in alike:
                    payload = frame_of(events[row.event_id], kind, locale, seen_at=row.seen_at, read_at=row.read_at)
                    alike[key] = text_frame(payload)
                request.frames.append(alike[key])  # type: ignore[union-attr]
                request.event_ids.append(row.event_id)  # type: ignore[union-attr]
            if sum(map(len, request.frames or ())) > limits.replay_bytes:
                request.reset = f"more than {limits.replay_bytes} bytes were missed"

    def _answer(self, request: Request, cursor: Cursor, until_tail: int) -> None:
        connection, gate = request.connection, request.connection.gate
        if connection.closing or gate is None:
            return
        if request.reset:
            connection.gate = None
            connection.queue(json_frame("reset", reason=request.reset))
            extra_bytes = 0
        else:
            replayed = request.event_ids or []
            gate.stop({*replayed, *request.have}, until_tail)
            for event_id in request.have:
                self._confirm(Handed(event_id, REPLAYED, {}), connection.user_id)
            for event_id in replayed:
                connection.expect(Handed(event_id, REPLAYED, {}))
            for frame in request.frames or ():
                connection.queue(frame)
            connection.cursor = cursor
            connection.queue(json_frame("resumed", cursor=cursor.text, replayed=len(replayed)))
            extra_bytes = sum(map(len, request.frames or ()))
        for frame in gate.release():
            connection.queue(frame)
        connection.flush(extra_bytes)
        log.debug("resumed", user_id=connection.user_id, reset=request.reset, replayed=len(request.event_ids or ()))


def _events(session: Session, event_ids: Iterable[int]) -> dict[int, NotificationEvent]:
    query = select(NotificationEvent).where(NotificationEvent.id.in_(list(event_ids)))
    return {event.id: event for event in session.scalars(query)}


def _looks(session: Session, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], tuple[str, str]]:
    """Kind and locale of each (event, person): those of the batch the person is in."""
    found: dict[int, list[tuple[str, str]]] = {}
    for event_id, kind, locale in session.execute(LOOKS, {"event_ids": [e for e, _ in pairs]}):
        found.setdefault(event_id, []).append((kind, locale))
    several = [pair for pair in pairs if len(found.get(pair[0], ())) > 1]
    looks = {pair: found[pair[0]][0] for pair in pairs if pair[0] in found}
    if several:
        values = {"event_ids": [e for e, _ in several], "user_ids": [u for _, u in several]}
        for event_id, user_id, kind, locale in session.execute(LOOK_OF_PERSON, values):
            looks[event_id, user_id] = (kind, locale)
    return looks
