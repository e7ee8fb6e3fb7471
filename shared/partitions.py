"""Weekly partitions of `notifications`, by ranges of event id, made four weeks ahead.

There is no default partition: a row that fits nowhere is an error that says so. Partitions start on
the Mondays of UTC and are named by that day: `notifications_20261123`.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import first_event_id_at

WEEK = timedelta(weeks=1)
WEEKS_AHEAD = 4


def make_partitions(session: Session, now: datetime | None = None) -> list[str]:
    """Make the missing partitions from last week (clocks differ) to four weeks ahead; their names.

    Safe to run by several at once: an advisory lock lets one work at a time.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('notifications partitions'))"))
    existing = set(
        session.scalars(
            text("SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'notifications'::regclass")
        )
    )
    made = []
    for week in range(-1, WEEKS_AHEAD + 1):
        start = _monday(now or datetime.now(UTC)) + week * WEEK
        name = f"notifications_{start:%Y%m%d}"
        if name not in existing:
            low, high = first_event_id_at(start), first_event_id_at(start + WEEK)
            # Attached, since CREATE … PARTITION OF locks out every reader and waits for the slowest of them.
            session.execute(text(f"CREATE TABLE {name} (LIKE notifications INCLUDING DEFAULTS)"))
            session.execute(text(f"ALTER TABLE notifications ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})"))
            made.append(name)
    return made


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(), UTC)
