"""Writes what the earlier system has: people first, then notifications, each chunk in a transaction.

A second run, or one after an interruption, adds what is missing and doubles nothing: people are known by
their id, events by their key under the source `django-import`. Who is here already stays as they are.
Nothing is sent: no frame, no mail, no webhook. Event ids are made from the old times, so order,
partitions and retention hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql import bindparam

from shared.catalog import load_catalog
from shared.database import transaction
from shared.errors import Unavailable
from shared.events import fold
from shared.ids import SEQUENCE_BITS, first_event_id_at
from shared.importing.django_source import DjangoSource
from shared.importing.old_rows import (
    OldNotification,
    OldPerson,
    Reader,
    Refusals,
    Refused,
    Rules,
    read_person,
)
from shared.models import USER
from shared.partitions import make_week
from shared.settings import Settings

SOURCE = "django-import"
DEFAULT_TYPE = "system"
# An event that went to more people is addressed to nobody by name: its audience was a group once.
NAMED_PEOPLE = 100

LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext('stagebloom import'))")
ADD_GROUPS = text("INSERT INTO groups (name) SELECT unnest(CAST(:names AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING")
ADD_PEOPLE = text("""
    INSERT INTO users (external_id, name, email, is_active)
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:emails AS text[]), CAST(:actives AS boolean[]))
    ON CONFLICT (external_id) DO NOTHING RETURNING external_id
""")
ADD_MEMBERS = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT pair.name, users.id
    FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS pair (name, external_id) JOIN users USING (external_id)
    ON CONFLICT DO NOTHING
""")
KNOWN_PEOPLE = text("SELECT count(*) FROM users WHERE external_id = ANY(CAST(:ids AS text[]))")
ADD_EVENTS = text(f"""
    INSERT INTO notification_events (id, event_type, category, notification_type, texts, search_text, data, audience, source,
                                     idempotency_key, content_hash, status, recipient_count, created_at, planned_at, processed_at)
    SELECT first_id | (nextval('notification_event_ids') & {(1 << SEQUENCE_BITS) - 1}), event_type, category, notification_type, texts,
           search_text, '{{}}', audience, '{SOURCE}', key, key, 'processed', 0, created_at, created_at, created_at
    FROM jsonb_to_recordset(:events) AS event (first_id bigint, event_type text, category text, notification_type text,
         texts jsonb, search_text text, audience jsonb, key text, created_at timestamptz)
    ON CONFLICT (source, idempotency_key) DO NOTHING
""").bindparams(bindparam("events", type_=JSONB))
ROWS = f"""
    SELECT users.id AS recipient_id, event.id AS event_id, old.read_at
    FROM unnest(CAST(:keys AS text[]), CAST(:recipients AS text[]), CAST(:read AS timestamptz[])) AS old (key, external_id, read_at)
    JOIN users USING (external_id)
    JOIN notification_events event ON event.source = '{SOURCE}' AND event.idempotency_key = old.key
"""
ADD_NOTIFICATIONS = text(f"""
    WITH added AS (
        INSERT INTO notifications (recipient_id, event_id, stored_xid, seen_at, read_at)
        SELECT recipient_id, event_id, pg_current_xact_id(), read_at, read_at FROM ({ROWS}) AS old
        ON CONFLICT DO NOTHING RETURNING event_id
    ), counted AS (
        UPDATE notification_events event SET recipient_count = event.recipient_count + people
        FROM (SELECT event_id, count(*) AS people FROM added GROUP BY event_id) AS found WHERE event.id = found.event_id
    )
    SELECT count(*) FROM added
""")
# Read there since an earlier run: read here. Never the other way round. Materialized, so that each row is
# looked up by both of its keys: joined freely, an event of 20,000 people was read whole for each of them.
MARK_READ = text(f"""
    WITH old AS MATERIALIZED ({ROWS})
    UPDATE notifications SET read_at = old.read_at, seen_at = coalesce(seen_at, old.read_at)
    FROM old
    WHERE notifications.recipient_id = old.recipient_id AND notifications.event_id = old.event_id
      AND notifications.read_at IS NULL AND old.read_at IS NOT NULL
""")


@dataclass(slots=True)
class Report:
    """What there was and what became of it."""

    people: int = 0
    people_added: int = 0
    notifications: int = 0
    notifications_taken: int = 0
    notifications_added: int = 0
    notifications_marked_read: int = 0
    events_added: int = 0
    refusals: Refusals = field(default_factory=Refusals)

    def as_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self.__slots__ if name != "refusals"}
        return {**numbers, "not_taken": self.refusals.as_list()}


def import_all(settings: Settings, source: DjangoSource, rules: Rules, *, dry_run: bool = False) -> Iterator[Report]:
    """Import people and notifications; yields the one report, which grows, after every chunk.

    A dry run reads and reports all of it and writes nothing; what would be added counts only people.
    Raises: Unavailable when another import is running.
    """
    report = Report()
    with transaction(settings) as guard:
        if not guard.scalar(LOCK):  # held to the end
            raise Unavailable("another import is running; wait for it")
        for rows in source.people():
            people = _taken_people(rows, report)
            with transaction(settings) as session:
                report.people_added += _count_new(session, people) if dry_run else add_people(session, people)
            yield report
        if not dry_run:
            _analyze(settings, "users, groups, memberships")
        reader = Reader(rules)
        weeks: set[int] = set()
        for rows in source.notifications():
            taken = _taken_notifications(reader, rows, report)
            if taken and not dry_run:
                _make_weeks(settings, taken, weeks)
                with transaction(settings) as session:
                    add_notifications(session, settings, taken, report)
            yield report
        if not dry_run:
            _analyze(settings, "notification_events, notifications")
    yield report


def _analyze(settings: Settings, tables: str) -> None:
    """So that the planner knows of thousands of new rows at once."""
    with transaction(settings) as session:
        session.execute(text(f"ANALYZE {tables}"))


def _taken_people(rows: list[Row[Any]], report: Report) -> list[OldPerson]:
    taken = []
    for row in rows:
        report.people += 1
        try:
            taken.append(read_person(row, report.refusals))
        except Refused as reason:
            report.refusals.add(str(reason), row.id)
    return taken


def _taken_notifications(reader: Reader, rows: list[Row[Any]], report: Report) -> list[OldNotification]:
    taken = []
    for row in rows:
        report.notifications += 1
        try:
            taken.append(reader.read(row))
        except Refused as reason:
            report.refusals.add(str(reason), row.id)
    report.notifications_taken += len(taken)
    return taken


def _count_new(session: Session, people: list[OldPerson]) -> int:
    return len(people) - int(session.scalar(KNOWN_PEOPLE, {"ids": [one.external_id for one in people]}) or 0)


def add_people(session: Session, people: list[OldPerson]) -> int:
    """Insert whoever is not here yet, with role and stage; how many they were."""
    session.execute(ADD_GROUPS, {"names": sorted({name for one in people for name in one.groups})})
    columns = {
        "ids": [one.external_id for one in people],
        "names": [one.name for one in people],
        "emails": [one.email for one in people],
        "actives": [one.is_active for one in people],
    }
    added = set(session.scalars(ADD_PEOPLE, columns))
    pairs = [(name, one.external_id) for one in people if one.external_id in added for name in one.groups]
    session.execute(
        ADD_MEMBERS, {"names": [name for name, _ in pairs], "ids": [external_id for _, external_id in pairs]}
    )
    return len(added)


def _make_weeks(settings: Settings, taken: list[OldNotification], made: set[int]) -> None:
    """The partitions that these need; in transactions of their own, since a new one is locked until its commit."""
    for one in taken:
        week = (one.created_at.date().toordinal() - 1) // 7
        if week not in made:
            with transaction(settings) as session:
                make_week(session, one.created_at)
            made.add(week)


def add_notifications(session: Session, settings: Settings, taken: list[OldNotification], report: Report) -> None:
    """Insert the events and notifications that are not here yet, and mark read what has been read since."""
    report.events_added += session.execute(ADD_EVENTS, {"events": _events(settings, taken)}).rowcount  # type: ignore[attr-defined]
    rows = {
        "keys": [one.key for one in taken],
        "recipients": [one.recipient for one in taken],
        "read": [one.read_at for one in taken],
    }
    added = int(session.scalar(ADD_NOTIFICATIONS, rows) or 0)
    report.notifications_added += added
    if added < len(taken):
        report.notifications_marked_read += session.execute(MARK_READ, rows).rowcount  # type: ignore[attr-defined]


def _events(settings: Settings, taken: list[OldNotification]) -> list[dict[str, Any]]:
    """One for each key, dated as its first notification."""
    catalog = load_catalog(settings.catalog_file)
    members: dict[str, list[OldNotification]] = {}
    for one in taken:
        members.setdefault(one.key, []).append(one)
    events = []
    for key, those in members.items():
        first = those[0]
        event_type = first.event_type if first.event_type and first.event_type in catalog else DEFAULT_TYPE
        events.append(
            {
                "first_id": first_event_id_at(first.created_at),
                "event_type": event_type,
                "category": catalog[event_type].category if event_type in catalog else "SYSTEM",
                "notification_type": first.notification_type,
                "texts": {settings.default_locale: {"title": first.title, "message": first.message}},
                "search_text": fold(f"{first.title} {first.message}"),
                "audience": [[USER + one.recipient] for one in those] if len(those) <= NAMED_PEOPLE else [],
                "key": key,
                "created_at": first.created_at.isoformat(),
            }
        )
    return events
