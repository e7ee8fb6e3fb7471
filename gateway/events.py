"""Events as their senders and admins see them: what became of them, for how many; never what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.models import NotificationEvent

BATCHES = text("""
    SELECT count(*) AS total, count(stored_at) AS stored, count(published_at) AS published
    FROM event_batches WHERE event_id = :id
""")


def get_event(session: Session, event_id: int, source: str | None) -> dict[str, Any]:
    """One event with the state of its batches; of any source when that is None. Raises: NotFound."""
    event = session.get(NotificationEvent, event_id)
    if event is None or (source is not None and event.source != source):
        raise NotFound(f"id: there is no event {event_id} of yours", field="id", value=event_id)
    batches = session.execute(BATCHES, {"id": event_id}).one()
    return {**event_json(event), "batches": dict(batches._mapping)}


def list_events(
    session: Session, limit: int, older_than: int | None, status: str | None, event_type: str | None
) -> list[NotificationEvent]:
    """The newest events, at most `limit`."""
    query = select(NotificationEvent).order_by(NotificationEvent.id.desc()).limit(limit)
    if older_than is not None:
        query = query.where(NotificationEvent.id < older_than)
    if status is not None:
        query = query.where(NotificationEvent.status == status)
    if event_type is not None:
        query = query.where(NotificationEvent.event_type == event_type)
    return list(session.scalars(query))


def event_json(event: NotificationEvent) -> dict[str, Any]:
    """An event without its words: those are for the people it reaches."""
    return {
        "id": event.id,
        "event_type": event.event_type,
        "category": event.category,
        "notification_type": event.notification_type,
        "priority": event.priority,
        "source": event.source,
        "audience": [" & ".join(term) for term in event.audience],
        "exclude": event.exclude,
        "status": event.status,
        "recipient_count": event.recipient_count,
        "attempts": event.attempts,
        "error": event.error,
        "created_at": _moment(event.created_at),
        "planned_at": _moment(event.planned_at),
        "processed_at": _moment(event.processed_at),
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
