"""The audit log: who did what to what, from where; never what was said.

A record stands in the transaction of the act: one without the other never happens. Refusals, of which
a flood can make any number, are the exception: the gateway counts them and writes them in bounded
batches (`gateway.refusals`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, tuple_
from sqlalchemy.orm import Session

from shared.errors import InvalidInput
from shared.models import USER, AuditRecord, NotificationEvent

SERVICE = "service:"
COMMAND_LINE = "cli"
NOBODY = "nobody"  # who has not said who they are

MAX_TEXT = 300  # characters of an actor, an action, a target: a name of 200 and its prefix
SHOWN = 20  # items of a list in `details`; the rest is a number

_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, and from where: `user_42`, `service:billing` or `cli`."""

    name: str
    address: str | None = None
    request_id: str | None = None

    @classmethod
    def person(cls, external_id: str, address: str | None = None, request_id: str | None = None) -> Actor:
        """A person, by the application's id."""
        return cls(USER + external_id, address, request_id)

    @classmethod
    def service(cls, name: str, address: str | None = None, request_id: str | None = None) -> Actor:
        """A service, by its name."""
        return cls(SERVICE + name, address, request_id)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which records; None means any. `since` and `until` are aware; both ends are included."""

    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def record(
    session: Session, actor: Actor, action: str, target: str = "", details: Mapping[str, Any] | None = None
) -> None:
    """Write down an act in its own transaction.

    `action` is what was done ("template.change"), `target` what it was done to ("welcome/fr"), `details`
    is JSON: names and numbers, no titles, messages, addresses of mail or keys.
    """
    record_many(session, [(actor, action, target, details or {})])


def record_many(session: Session, acts: Sequence[tuple[Actor, str, str, Mapping[str, Any]]]) -> None:
    """Write down several acts, (actor, action, target, details) each, in one statement."""
    rows = [
        {
            "actor": actor.name[:MAX_TEXT],
            "action": action[:MAX_TEXT],
            "target": target[:MAX_TEXT],
            "details": dict(details),
            "address": actor.address,
            "request_id": actor.request_id,
        }
        for actor, action, target, details in acts
    ]
    if rows:
        session.execute(insert(AuditRecord), rows)


def record_send(session: Session, actor: Actor, action: str, event: NotificationEvent) -> None:
    """Write down that an event was recorded: what kind and for whom, not what it says."""
    audience = [" & ".join(term) for term in event.audience]
    details = {
        "event_type": event.event_type,
        "priority": event.priority,
        "audience": shortened(audience),
        "exclude": shortened(event.exclude),
    }
    record(session, actor, action, str(event.id), details)


def shortened(names: Sequence[str]) -> dict[str, Any]:
    """A list as details hold it: how many, and the first of them."""
    return {"count": len(names), "first": list(names[:SHOWN])}


def list_records(
    session: Session, filters: Filters, limit: int, cursor: str | None = None
) -> tuple[list[AuditRecord], str | None]:
    """The newest records that match, at most `limit`, older than `cursor`; and the cursor of the next page.

    Raises: InvalidInput for a cursor that is none.
    """
    query = select(AuditRecord).order_by(AuditRecord.at.desc(), AuditRecord.id.desc())
    if filters.actor is not None:
        query = query.where(AuditRecord.actor == filters.actor)
    if filters.action is not None:
        query = query.where(AuditRecord.action == filters.action)
    if filters.since is not None:
        query = query.where(AuditRecord.at >= filters.since)
    if filters.until is not None:
        query = query.where(AuditRecord.at <= filters.until)
    if cursor is not None:
        query = query.where(tuple_(AuditRecord.at, AuditRecord.id) < tuple_(*_position(cursor)))
    rows = list(session.scalars(query.limit(limit + 1)))
    shown = rows[:limit]
    return shown, _cursor(shown[-1]) if len(rows) > limit else None


def as_json(row: AuditRecord) -> dict[str, Any]:
    """A record as the API and the command line show it."""
    return {
        "id": row.id,
        "at": row.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "details": row.details,
        "address": row.address,
        "request_id": row.request_id,
    }


def _cursor(row: AuditRecord) -> str:
    return f"{(row.at - _EPOCH) // timedelta(microseconds=1)}-{row.id}"


def _position(cursor: str) -> tuple[datetime, int]:
    found = _CURSOR.fullmatch(cursor)
    try:
        if found:
            return _EPOCH + timedelta(microseconds=int(found[1])), int(found[2])
    except OverflowError:
        pass
    raise InvalidInput.field("cursor", cursor, "the cursor of a `next` address")
