"""One event's whole story: what was said to whom, how it was planned, what became of it.

Read from the event, its plan (kept for a day), its kept counts and its deliveries; never from
`notifications`, which would take a second for a large event.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.ids import event_id_time
from shared.models import NotificationEvent

SOURCE_USER = text("SELECT external_id FROM users WHERE id = :id")
# How many people each group of the audience has now; `user_*` and `everyone` are no groups with members.
GROUPS = text("""
    SELECT name, EXISTS (SELECT FROM groups WHERE groups.name = names.name),
           (SELECT count(*) FROM (SELECT FROM memberships WHERE group_name = names.name LIMIT 1000000) AS found)
    FROM unnest(CAST(:names AS text[])) AS names (name)
""")
PLAN = text("""
    SELECT kind, locale, count(*) AS batches, sum(cardinality(recipient_ids)) AS people, count(stored_at) AS stored,
           count(published_at) AS published, max(stored_at) AS stored_at, max(published_at) AS published_at
    FROM event_batches WHERE event_id = :id GROUP BY kind, locale ORDER BY kind, locale
""")
COUNTS = text("SELECT stored, delivered, seen, read, deleted FROM event_counts WHERE event_id = :id")
DELIVERIES = text("""
    SELECT channel, status, reason, count(*) AS people, max(attempts) AS attempts, max(error) AS error
    FROM deliveries WHERE event_id = :id GROUP BY channel, status, reason ORDER BY channel, status, reason
""")
MAX_NAMES = 100  # of an audience's groups are looked up and shown


def tell_story(session: Session, event_id: int) -> dict[str, Any]:
    """The story as JSON-ready values; times are ISO 8601. Raises: NotFound."""
    event = session.get(NotificationEvent, event_id)
    if event is None:
        raise NotFound(
            f"event: there is none with the id {event_id} (its time would be {event_id_time(event_id):%Y-%m-%d %H:%M} UTC)",
            field="event",
            value=event_id,
        )
    values = {"id": event_id}
    names = sorted({name for term in event.audience for name in term} | set(event.exclude))
    counts = session.execute(COUNTS, values).one_or_none()
    story: dict[str, Any] = _plain(
        {
            "id": event.id,
            "event_type": event.event_type,
            "category": event.category,
            "notification_type": event.notification_type,
            "priority": event.priority,
            "texts": event.texts,
            "data": event.data,
            "link": event.link,
            "thread_key": event.thread_key,
            "source": event.source,
            "source_user": session.scalar(SOURCE_USER, {"id": event.source_user_id}),
            "idempotency_key": event.idempotency_key,
            "audience": [" & ".join(term) for term in event.audience],
            "exclude": list(event.exclude),
            "groups": {
                name: {"known": known, "members": members}
                for name, known, members in session.execute(
                    GROUPS,
                    {
                        "names": [name for name in names if not name.startswith("user_") and name != "everyone"][
                            :MAX_NAMES
                        ]
                    },
                )
            },
            "status": event.status,
            "lane": "bulk" if event.bulk else "single",
            "attempts": event.attempts,
            "retry_at": event.retry_at,
            "error": event.error,
            "created_at": event.created_at,
            "planned_at": event.planned_at,
            "processed_at": event.processed_at,
            "recipient_count": event.recipient_count,
            "plan": [dict(row._mapping) for row in session.execute(PLAN, values)],
            "counts": dict(counts._mapping) if counts else None,
            "deliveries": [dict(row._mapping) for row in session.execute(DELIVERIES, values)],
        }
    )
    return story


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    return int(value) if type(value).__name__ == "Decimal" else value


def what_stands(story: dict[str, Any]) -> str:
    """In one sentence, where the event stands and what to do about it."""
    people, status = story["recipient_count"], story["status"]
    if status == "failed":
        return f"It failed ({story['error']}) after {story['attempts']} attempts. Mend the cause and send it again."
    if status == "pending" and story["retry_at"]:
        return f"Attempt {story['attempts']} failed ({story['error']}); it is tried again at {story['retry_at']}."
    if status == "pending":
        return "No worker has taken it yet. Within seconds one should: is `worker` running (`stagebloom doctor`)?"
    if status == "planned":
        stored, batches = (sum(row[name] for row in story["plan"]) for name in ("stored", "batches"))
        return f"{stored} of {batches} batches are stored; `bulk` workers go on with it."
    if not people:
        return "It is processed and reached nobody: no active person is in its audience (see the groups)."
    unpublished = sum(row["stored"] - row["published"] for row in story["plan"])
    if unpublished:
        return f"It is stored for {people} people; {unpublished} batches are still to be announced to the gateways."
    return f"It is stored for {people} people" + (
        " and announced." if story["plan"] else "; its plan was cleaned away a day later."
    )
