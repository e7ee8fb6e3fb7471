"""Writes people, events and notifications of a chunk, set-based; what is here already stays.

People are known by their id, events by their key under the source `django-import`. Event ids are made from the
old times, so order, partitions and retention hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql import bindparam

from shared.catalog import load_catalog
from shared.events import fold
from shared.ids import SEQUENCE_BITS, first_event_id_at
from shared.importing.old_events import OldEvent
from shared.importing.old_notifications import OldNotification
from shared.importing.old_people import OldPerson
from shared.models import USER
from shared.settings import Settings

SOURCE = "django-import"
DEFAULT_TYPE = "system"
# An event that went to more people is addressed to nobody by name: its audience was a group once.
NAMED_PEOPLE = 100

KNOWN_PEOPLE = text("SELECT count(*) FROM users WHERE external_id = ANY(CAST(:ids AS text[]))")
ADD_GROUPS = text("INSERT INTO groups (name) SELECT unnest(CAST(:names AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING")
ADD_PEOPLE = text("""
    INSERT INTO users (external_id, name, email, is_active)
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:emails AS text[]), CAST(:actives AS boolean[]))
    ORDER BY 1  -- as everyone who adds people, so that two never wait for each other in a circle
    ON CONFLICT (external_id) DO NOTHING RETURNING external_id
""")
ADD_MEMBERS = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT pair.name, users.id
    FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS pair (name, external_id) JOIN users USING (external_id)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING
""")
ADD_EVENTS = text(f"""
    INSERT INTO notification_events (id, event_type, category, notification_type, texts, search_text, data, audience, source,
                                     idempotency_key, content_hash, status, recipient_count, created_at, planned_at, processed_at)
    SELECT first_id | (nextval('notification_event_ids') & {(1 << SEQUENCE_BITS) - 1}), event_type, category, notification_type, texts,
           search_text, data, '[]', '{SOURCE}', key, key, 'processed', 0, created_at, created_at, created_at
    FROM jsonb_to_recordset(:events) AS event (first_id bigint, event_type text, category text, notification_type text,
         texts jsonb, search_text text, data jsonb, key text, created_at timestamptz)
    ON CONFLICT (source, idempotency_key) DO NOTHING
""").bindparams(bindparam("events", type_=JSONB))
# Each row is looked up by its keys, whatever the tables hold and whether anything is known of them: left to
# choose, PostgreSQL read tables of a million whole for each chunk of 5,000.
BY_INDEX = text("SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
ROWS = f"""
    SELECT (SELECT id FROM users WHERE users.external_id = old.external_id) AS recipient_id,
           (SELECT id FROM notification_events WHERE source = '{SOURCE}' AND idempotency_key = old.key) AS event_id, read_at
    FROM unnest(CAST(:keys AS text[]), CAST(:recipients AS text[]), CAST(:read AS timestamptz[])) AS old (key, external_id, read_at)
"""
# An event's people may come in several chunks, and more of them in a later run: its audience grows with them.
ADD_NOTIFICATIONS = text(f"""
    WITH added AS (
        INSERT INTO notifications (recipient_id, event_id, stored_xid, seen_at, read_at)
        SELECT recipient_id, event_id, pg_current_xact_id(), read_at, read_at FROM ({ROWS}) AS old
        WHERE recipient_id IS NOT NULL AND event_id IS NOT NULL
        ON CONFLICT DO NOTHING RETURNING recipient_id, event_id
    ), counted AS (
        UPDATE notification_events event SET
            recipient_count = event.recipient_count + people,
            audience = CASE WHEN event.recipient_count + people <= {NAMED_PEOPLE} THEN event.audience || names ELSE '[]' END
        FROM (SELECT event_id, count(*) AS people, jsonb_agg(jsonb_build_array('{USER}' || external_id)) AS names
              FROM added JOIN users ON users.id = recipient_id GROUP BY event_id) AS found
        WHERE event.id = found.event_id
    )
    SELECT count(*) FROM added
""")
# Read there since an earlier run: read here. Never the other way round.
MARK_READ = text(f"""
    WITH old AS MATERIALIZED ({ROWS})
    UPDATE notifications SET read_at = old.read_at, seen_at = coalesce(seen_at, old.read_at)
    FROM old
    WHERE notifications.recipient_id = old.recipient_id AND notifications.event_id = old.event_id
      AND notifications.read_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class Added:
    """What a chunk of notifications came to."""

    events: int
    notifications: int
    marked_read: int


def count_new(session: Session, people: Sequence[OldPerson]) -> int:
    """How many of them are not here yet."""
    return len(people) - int(session.scalar(KNOWN_PEOPLE, {"ids": [one.external_id for one in people]}) or 0)


def add_people(session: Session, people: Sequence[OldPerson]) -> int:
    """Insert whoever is not here yet, with role and stage; how many they were."""
    columns = {
        "ids": [one.external_id for one in people],
        "names": [one.name for one in people],
        "emails": [one.email for one in people],
        "actives": [one.is_active for one in people],
    }
    added = set(session.scalars(ADD_PEOPLE, columns))
    pairs = [(name, one.external_id) for one in people if one.external_id in added for name in one.groups]
    session.execute(ADD_GROUPS, {"names": sorted({name for name, _ in pairs})})
    session.execute(
        ADD_MEMBERS, {"names": [name for name, _ in pairs], "ids": [external_id for _, external_id in pairs]}
    )
    return len(added)


def add_notifications(
    session: Session, settings: Settings, taken: Sequence[OldNotification], old_events: Mapping[Any, OldEvent]
) -> Added:
    """Insert the events and notifications that are not here yet, and mark read what has been read since."""
    session.execute(BY_INDEX)
    events = session.execute(ADD_EVENTS, {"events": _events(settings, taken, old_events)}).rowcount  # type: ignore[attr-defined]
    notifications = int(session.scalar(ADD_NOTIFICATIONS, _columns(taken)) or 0)
    marked = 0
    if notifications < len(taken):
        read = [one for one in taken if one.read_at is not None]
        marked = session.execute(MARK_READ, _columns(read)).rowcount  # type: ignore[attr-defined]
    return Added(events, notifications, marked)


def _columns(rows: Sequence[OldNotification]) -> dict[str, Any]:
    return {
        "keys": [one.key for one in rows],
        "recipients": [one.recipient for one in rows],
        "read": [one.read_at for one in rows],
    }


def _events(
    settings: Settings, taken: Sequence[OldNotification], old_events: Mapping[Any, OldEvent]
) -> list[dict[str, Any]]:
    """One for each key, dated as its first notification."""
    catalog = load_catalog(settings.catalog_file)
    firsts: dict[str, OldNotification] = {}
    for one in taken:
        firsts.setdefault(one.key, one)
    events = []
    for key, first in firsts.items():
        old = old_events.get(first.event, OldEvent())
        event_type = old.event_type if old.event_type in catalog else DEFAULT_TYPE
        row = catalog.get(event_type)
        events.append(
            {
                "first_id": first_event_id_at(first.created_at),
                "event_type": event_type,
                "category": row.of_action(old.data.get("action")).category if row else "SYSTEM",
                "notification_type": first.notification_type,
                "texts": {settings.default_locale: {"title": first.title, "message": first.message}},
                "search_text": fold(f"{first.title} {first.message}"),
                "data": old.data,
                "key": key,
                "created_at": first.created_at.isoformat(),
            }
        )
    return events
