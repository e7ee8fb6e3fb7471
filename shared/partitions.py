"""Weekly partitions of `notifications`, by ranges of event id: made four weeks ahead, dropped when old.

There is no default partition: a row that fits nowhere is an error that says so. Partitions start on
the Mondays of UTC and are named by that day: `notifications_20261123`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import event_id_time, first_event_id_at

WEEK = timedelta(weeks=1)
WEEKS_AHEAD = 4
# A drop locks out everyone while it waits for the slowest reader: nobody notices a fifth of a second.
DROP_WAIT_MILLISECONDS = 200

PARTITIONS = text("""
    SELECT c.relname, bound[1]::bigint, bound[2]::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''?(\\d+)''?\\) TO \\(''?(\\d+)''?\\)') AS bound
    WHERE i.inhparent = 'notifications'::regclass
    ORDER BY 2
""")

LOCK = text("SELECT pg_advisory_xact_lock(hashtext('notifications partitions'))")
EXISTING = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'notifications'::regclass"
)


@dataclass(frozen=True, slots=True)
class Partition:
    """A week of notifications: event ids from `first_id` on, `end_id` not included."""

    name: str
    first_id: int
    end_id: int

    @property
    def starts_at(self) -> datetime:
        return event_id_time(self.first_id)

    @property
    def ends_at(self) -> datetime:
        return event_id_time(self.end_id)


def list_partitions(session: Session) -> list[Partition]:
    """Every partition, oldest first."""
    return [Partition(name, first_id, end_id) for name, first_id, end_id in session.execute(PARTITIONS)]


def outdated_partitions(session: Session, retention: timedelta, now: datetime | None = None) -> list[Partition]:
    """Those whose whole week is older than `retention`, oldest first; never one that would be made again."""
    now = now or datetime.now(UTC)
    limit = first_event_id_at(min(now - retention, _monday(now) - WEEK))
    return [partition for partition in list_partitions(session) if partition.end_id <= limit]


def drop_partition(session: Session, partition: Partition) -> None:
    """Drop it at once, or raise after 200 ms of waiting for whoever reads: try again later.

    Raises: sqlalchemy.exc.OperationalError (lock_not_available).
    """
    session.execute(text(f"SET LOCAL lock_timeout = '{DROP_WAIT_MILLISECONDS}ms'"))
    session.execute(text(f"DROP TABLE {partition.name}"))


def make_partitions(session: Session, now: datetime | None = None) -> list[str]:
    """Make the missing partitions from last week (clocks differ) to four weeks ahead; their names.

    Safe to run by several at once: an advisory lock lets one work at a time.
    """
    session.execute(LOCK)
    existing = set(session.scalars(EXISTING))
    made = []
    for week in range(-1, WEEKS_AHEAD + 1):
        start = _monday(now or datetime.now(UTC)) + week * WEEK
        if _name(start) not in existing:
            made.append(_make(session, start))
    return made


def make_week(session: Session, moment: datetime) -> None:
    """Make the partition of `moment` (aware) unless it is there: for what is brought in from elsewhere."""
    session.execute(LOCK)
    start = _monday(moment)
    if _name(start) not in session.scalars(EXISTING).all():
        _make(session, start)


def _make(session: Session, start: datetime) -> str:
    name, low, high = _name(start), first_event_id_at(start), first_event_id_at(start + WEEK)
    # Attached, since CREATE … PARTITION OF locks out every reader and waits for the slowest of them.
    session.execute(text(f"CREATE TABLE {name} (LIKE notifications INCLUDING DEFAULTS)"))
    session.execute(text(f"ALTER TABLE notifications ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high})"))
    return name


def _name(start: datetime) -> str:
    return f"notifications_{start:%Y%m%d}"


def _monday(moment: datetime) -> datetime:
    day = moment.astimezone(UTC).date()
    return datetime.combine(day - timedelta(days=day.weekday()), time(), UTC)
