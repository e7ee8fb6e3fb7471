"""Erasing a person: their rows go, and their name goes wherever it stands; what others were told stays.

In pieces and repeatable: killed anywhere, done again it goes on. First their id goes: whoever records an
event for them holds their row (`refuse_unknown`), so what comes later is refused and what came before is
seen by all that follows. The row says what is still to be done: `leaving 7 anna`, then `erasing 7 anna` for
the archives. What is left for an hour is a row without a name (`erased 7`), so that open connections find out that they are to close. Archives are files
on the workers' machine: `workers.erasing` rewrites them afterwards, as `forget_in_archive` says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import audit
from shared.audience import NAME
from shared.audit import Actor
from shared.logs import get_logger
from shared.models import USER
from shared.privacy import ROWS_AT_ONCE, Transact, unknown

EVENTS_AT_ONCE = 10_000  # looked at: a busy machine took 13 s for a million events, 0.6 s for the longest piece
SETTLE_SECONDS = 10.0  # for plans that were begun before the person was deactivated
NOBODY = 0  # stands in a stored batch for who was erased: receipts count by place
LEAVING = "leaving "  # with a space: no name of a person can look like this
ERASING = "erasing "
ERASED = "erased "
REDACTED: Mapping[str, Any] = {"redacted": True}

log = get_logger("privacy")

CLOSE = text("""
    UPDATE users SET is_active = false, changed_xid = pg_current_xact_id()
    WHERE external_id = :external_id OR (starts_with(external_id, :leaving) AND split_part(external_id, ' ', 3) = :external_id)
    RETURNING id, pg_current_xact_id()::text AS xid
""")
# Changes a key, so it waits for all who hold the row FOR KEY SHARE: recorders of events, and what refers to it.
LEAVE = text("""
    UPDATE users SET external_id = :leaving || id || ' ' || external_id, changed_xid = pg_current_xact_id()
    WHERE id = ANY(:user_ids) AND external_id = :external_id
""")
SETTLED = text("SELECT pg_snapshot_xmin(pg_current_snapshot()) > CAST(:xid AS xid8)")
LEAVE_UNSTORED = text("""
    UPDATE event_batches SET recipient_ids = array_remove(recipient_ids, :user_id)
    FROM (SELECT event_id, n FROM event_batches WHERE stored_at IS NULL AND recipient_ids @> ARRAY[CAST(:user_id AS bigint)]
          ORDER BY event_id, n LIMIT :limit FOR UPDATE) AS chosen
    WHERE event_batches.event_id = chosen.event_id AND event_batches.n = chosen.n AND stored_at IS NULL
""")
OWN = text("SELECT event_id FROM notifications WHERE recipient_id = :user_id ORDER BY event_id LIMIT :limit FOR UPDATE")
# A gateway that confirms the batch holds its key, and goes on to lock notifications: waiting for it would be a ring.
LEAVE_STORED = text("""
    UPDATE event_batches SET recipient_ids = array_replace(recipient_ids, :user_id, :nobody)
    FROM (SELECT event_id, n FROM event_batches WHERE event_id = ANY(:event_ids) AND recipient_ids @> ARRAY[CAST(:user_id AS bigint)]
          ORDER BY event_id, n FOR NO KEY UPDATE) AS chosen
    WHERE event_batches.event_id = chosen.event_id AND event_batches.n = chosen.n
""")
DELETE_OWN = text("DELETE FROM notifications WHERE recipient_id = :user_id AND event_id = ANY(:event_ids)")
LAST_OF_PIECE = text("""
    SELECT max(id) FROM (SELECT id FROM notification_events WHERE id > :after AND id <= :until ORDER BY id LIMIT :limit) AS piece
""")
NEWEST = text("SELECT coalesce(max(id), 0) FROM notification_events")  # later ones are for who has the id next
# What was addressed to them alone is emptied; of what others got as well, only their name goes.
REDACT = text("""
    UPDATE notification_events AS event SET
        audience = others, exclude = exclude - CAST(:name AS text),
        texts = CASE WHEN is_alone THEN (SELECT jsonb_object_agg(locale, '{"title": "", "message": ""}'::jsonb) FROM jsonb_object_keys(texts) AS locale) ELSE texts END,
        search_text = CASE WHEN is_alone THEN '' ELSE search_text END,
        data = CASE WHEN is_alone THEN CAST(:redacted AS jsonb) ELSE data END,
        link = CASE WHEN NOT is_alone THEN link END,
        image = CASE WHEN NOT is_alone THEN image END,
        actions = CASE WHEN is_alone THEN '[]'::jsonb ELSE actions END,
        thread_key = CASE WHEN NOT is_alone THEN thread_key END,
        content_hash = CASE WHEN is_alone THEN '' ELSE content_hash END,
        idempotency_key = CASE WHEN NOT is_alone THEN idempotency_key END,
        status = CASE WHEN is_alone AND status = 'pending' THEN 'failed' ELSE status END,
        error = CASE WHEN is_alone AND status = 'pending' THEN 'erased' WHEN NOT is_alone THEN error END
    FROM (
        SELECT id, others, others = '[]'::jsonb AS is_alone
        FROM notification_events CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_agg(term ORDER BY place) FILTER (WHERE NOT jsonb_exists(term, :name)), '[]'::jsonb) AS others
            FROM jsonb_array_elements(audience) WITH ORDINALITY AS terms (term, place)
        ) AS kept
        WHERE id > :after AND id <= :last AND (audience @> CAST(:in_audience AS jsonb) OR exclude @> CAST(:in_exclude AS jsonb))
        ORDER BY id FOR UPDATE OF notification_events
    ) AS named
    WHERE event.id = named.id
""")
DISOWN = text("""
    UPDATE notification_events SET source_user_id = NULL,
        source = CASE WHEN source = :source THEN '' ELSE source END,
        idempotency_key = CASE WHEN source <> :source THEN idempotency_key END
    WHERE id IN (SELECT id FROM notification_events WHERE source_user_id = :user_id ORDER BY id LIMIT :limit FOR UPDATE)
""")
ACTED = text("SELECT id FROM audit_log WHERE actor = :name ORDER BY at, id LIMIT :limit")
HIDE_ACTOR = text("UPDATE audit_log SET actor = :opaque, address = NULL WHERE id = ANY(:ids)")
MENTIONED = text("""
    SELECT id, action, target, details FROM audit_log
    WHERE id > :after AND (strpos(target, :external_id) > 0 OR strpos(details::text, :external_id) > 0) ORDER BY id LIMIT :limit
""")
HIDE_TARGET = text("UPDATE audit_log SET target = :target, details = CAST(:details AS jsonb) WHERE id = :id")
# Whatever else refers to them goes with these; the row itself goes an hour later.
REST = (
    text("DELETE FROM memberships WHERE user_id = :user_id"),
    text("DELETE FROM deliveries WHERE recipient_id = :user_id"),
    text("DELETE FROM websocket_connections WHERE user_id = :user_id"),
    text("""
        UPDATE users SET external_id = :external_id, name = '', email = NULL, phone = NULL, locale = NULL, timezone = NULL,
            is_active = false, changed_xid = pg_current_xact_id(), created_at = now()
        WHERE id = :user_id
    """),
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did. `opaque_id` is all that the audit log keeps."""

    opaque_id: str
    notifications: int
    events: int

    def as_dict(self) -> dict[str, Any]:
        return {"erased": self.opaque_id, "notifications": self.notifications, "events": self.events}


def erase_person(transact: Transact, external_id: str, actor: Actor, announce: Callable[[], object]) -> Erased:
    """Erase all that is kept about a person, in transactions of its own; `announce` tells the gateways.

    From the first of them on their tokens are refused and their connections closed (4503). Safe to do
    again after a failure. Raises: NotFound.
    """
    values = {"external_id": external_id, "leaving": LEAVING}
    is_name = NAME.fullmatch(USER + external_id) is not None
    closed = transact(lambda session: session.execute(CLOSE, values).all()) if is_name else []
    if not closed:
        raise unknown(external_id)
    announce()
    user_ids = sorted(row.id for row in closed)  # several when the id came back after an erasure that was killed
    transact(lambda session: session.execute(LEAVE, {**values, "user_ids": user_ids}))
    _wait_until_settled(transact, closed[0].xid)
    newest = transact(lambda session: session.scalar(NEWEST))
    done = [_erase(transact, user_id, external_id, newest, actor) for user_id in user_ids]
    announce()
    return Erased(done[-1].opaque_id, sum(one.notifications for one in done), sum(one.events for one in done))


def _erase(transact: Transact, user_id: int, external_id: str, newest: int, actor: Actor) -> Erased:
    """Everything of one row, and what names them in events up to `newest`."""
    opaque_id = f"erased_{user_id}"
    values = {"user_id": user_id, "limit": ROWS_AT_ONCE, "source": f"http:{external_id}"}
    _repeat(transact, lambda session: _rows(session, LEAVE_UNSTORED, values))
    notifications = _repeat(transact, lambda session: _delete_notifications(session, user_id))
    events = _redact_events(transact, USER + external_id, newest)
    _repeat(transact, lambda session: _rows(session, DISOWN, values))
    _repeat(transact, lambda session: _hide_actor(session, USER + external_id, opaque_id))
    _hide_in_audit(transact, external_id, opaque_id)

    def finish(session: Session) -> None:
        for statement in REST:
            session.execute(statement, {"user_id": user_id, "external_id": f"{ERASING}{user_id} {external_id}"})
        by = Actor(opaque_id) if actor.name == USER + external_id else actor
        audit.record(session, by, "person.erase", opaque_id, {"notifications": notifications, "events": events})

    transact(finish)
    log.info("person_erased", person=opaque_id, notifications=notifications, events=events)
    return Erased(opaque_id, notifications, events)


def forget_in_archive(line: dict[str, Any], external_id: str) -> dict[str, Any] | None:
    """A line of an archive as it is to be after the erasure; None when it is to go."""
    name = USER + external_id
    if "event" not in line:
        return None if line.get("person") == external_id else line
    event = dict(line["event"])
    if event.get("source_user") == external_id:
        event["source_user"] = None
    if event.get("source") == f"http:{external_id}":
        event.update(source="", idempotency_key=None)
    event["exclude"] = [one for one in event.get("exclude", []) if one != name]
    others = [term for term in event.get("audience", []) if name not in term]
    if not others and event.get("audience"):
        event.update(
            texts={locale: {"title": "", "message": ""} for locale in event.get("texts", {})}, data=dict(REDACTED)
        )
        event.update(link=None, image=None, actions=[], thread_key=None, idempotency_key=None)
    event["audience"] = others
    return {"event": event}


def _wait_until_settled(transact: Transact, xid: str) -> None:
    """Until every transaction is over that may have planned for this person while they were active."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not transact(lambda session: session.scalar(SETTLED, {"xid": xid})):
        if time.monotonic() > deadline:
            log.warning("erasure_goes_on", reason="a transaction has been open for long")
            return
        time.sleep(0.05)


def _repeat(transact: Transact, work: Callable[[Session], int]) -> int:
    """Do a piece at a time until one finds nothing; how many rows in all."""
    total = 0
    while done := transact(work):
        total += done
    return total


def _rows(session: Session, statement: Any, values: Mapping[str, Any]) -> int:
    return int(session.execute(statement, values).rowcount)  # type: ignore[attr-defined]


def _delete_notifications(session: Session, user_id: int) -> int:
    event_ids = list(session.scalars(OWN, {"user_id": user_id, "limit": ROWS_AT_ONCE}))
    if event_ids:
        values = {"user_id": user_id, "event_ids": event_ids, "nobody": NOBODY}
        session.execute(LEAVE_STORED, values)
        session.execute(DELETE_OWN, values)
    return len(event_ids)


def _redact_events(transact: Transact, name: str, newest: int) -> int:
    """Take the name out of every event; no index leads there, so all are looked at, a piece at a time."""
    values = {
        "name": name,
        "in_audience": json.dumps([[name]]),
        "in_exclude": json.dumps([name]),
        "redacted": json.dumps(REDACTED),
        "until": newest,
    }
    after, redacted = -1, 0
    while True:
        last, changed = transact(partial(_redact_piece, values={**values, "after": after, "limit": EVENTS_AT_ONCE}))
        if last is None:
            return redacted
        after, redacted = last, redacted + changed


def _redact_piece(session: Session, values: Mapping[str, Any]) -> tuple[int | None, int]:
    """Up to which event it looked, None at the end, and how many it changed."""
    last = session.scalar(LAST_OF_PIECE, values)
    return last, 0 if last is None else _rows(session, REDACT, {**values, "last": last})


def _hide_actor(session: Session, name: str, opaque_id: str) -> int:
    ids = list(session.scalars(ACTED, {"name": name, "limit": ROWS_AT_ONCE}))
    if ids:
        session.execute(HIDE_ACTOR, {"ids": ids, "opaque": opaque_id})
    return len(ids)


def _hide_in_audit(transact: Transact, external_id: str, opaque_id: str) -> None:
    """In what the log says of others' acts: where they were the target, or one of those named."""

    def hide(session: Session, after: int) -> list[Any]:
        rows = session.execute(MENTIONED, {"after": after, "external_id": external_id, "limit": ROWS_AT_ONCE}).all()
        for row in rows:
            known = (
                {USER + external_id, external_id}
                if row.action.startswith(("people", "person", "membership"))
                else {USER + external_id}
            )
            target, details = _without(row.target, known, opaque_id), _without(row.details, known, opaque_id)
            if (target, details) != (row.target, row.details):
                session.execute(HIDE_TARGET, {"id": row.id, "target": target, "details": json.dumps(details)})
        return list(rows)

    rows = transact(lambda session: hide(session, 0))
    while rows:
        rows = transact(partial(hide, after=rows[-1].id))


def _without(value: Any, names: set[str], opaque_id: str) -> Any:
    if isinstance(value, str):
        return " & ".join(opaque_id if part in names else part for part in value.split(" & "))
    if isinstance(value, list):
        return [_without(item, names, opaque_id) for item in value]
    if isinstance(value, dict):
        return {_without(key, names, opaque_id): _without(item, names, opaque_id) for key, item in value.items()}
    return value
