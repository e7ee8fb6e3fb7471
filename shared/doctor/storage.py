"""Indexes as the models want them; partitions ahead and none too old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.doctor import Finding, fine, looking, note, wrong
from shared.ids import first_event_id_at
from shared.models import Base
from shared.partitions import WEEK, list_partitions, outdated_partitions
from shared.settings import Settings

MISSED_FOR = timedelta(days=2)  # clean-up runs every hour; two days of that are no accident
INDEXES = text(
    "SELECT c.relname, i.indisvalid, t.relname AS table FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()"
)
# Of each partition, which of the table's own indexes it lacks (one attached by hand could).
UNINDEXED = text("""
    SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
    WHERE inhparent = 'notifications'::regclass
      AND (SELECT count(*) FROM pg_index WHERE indrelid = child.oid AND indisvalid)
        < (SELECT count(*) FROM pg_index WHERE indrelid = 'notifications'::regclass)
""")


def check_indexes(settings: Settings) -> Iterator[Finding]:
    """Every index of the models exists and is valid."""
    return looking(settings, _look_at_indexes)


def _look_at_indexes(session: Session) -> Iterator[Finding]:
    found = {row.relname: row.indisvalid for row in session.execute(INDEXES)}
    wanted = {str(index.name) for table in Base.metadata.tables.values() for index in table.indexes}
    missing = sorted(wanted - found.keys())
    invalid = sorted(name for name, is_valid in found.items() if not is_valid)
    unindexed = sorted(session.scalars(UNINDEXED))
    if missing:
        yield wrong(
            "indexes",
            f"missing: {', '.join(missing)}",
            "Run `stagebloom migrate`; if it says it is at head, make them as the migrations do.",
            missing=missing,
        )
    if invalid:
        yield wrong(
            "indexes", f"invalid: {', '.join(invalid)}", "Run REINDEX INDEX CONCURRENTLY for each.", invalid=invalid
        )
    if unindexed:
        yield wrong(
            "indexes",
            f"partitions without all indexes: {', '.join(unindexed)}",
            "Make the indexes of `notifications` on them and attach them.",
            partitions=unindexed,
        )
    if not (missing or invalid or unindexed):
        yield fine("indexes", f"all {len(wanted)} are there and valid", count=len(wanted))


def check_partitions(settings: Settings) -> Iterator[Finding]:
    """This week and the next have a place; what is old has gone."""
    return looking(settings, lambda session: _look_at_partitions(session, settings))


def _look_at_partitions(session: Session, settings: Settings) -> Iterator[Finding]:
    now = datetime.now(UTC)
    partitions = list_partitions(session)
    lacking = [
        moment
        for moment in (now, now + WEEK)
        if not any(one.first_id <= first_event_id_at(moment) < one.end_id for one in partitions)
    ]
    if lacking:
        yield wrong(
            "partitions",
            f"none for {lacking[0]:%Y-%m-%d}: what is sent then can't be stored",
            "Is `beat` running? It makes them every hour; `stagebloom migrate` does not.",
            lacking=[moment.date().isoformat() for moment in lacking],
        )
    retention = timedelta(days=settings.notification_retention_days)
    old = [one.name for one in outdated_partitions(session, retention, now)]
    late = [one.name for one in outdated_partitions(session, retention + MISSED_FOR, now)]
    details = {"partitions": len(partitions), "outdated": old}
    if late:
        yield wrong(
            "partitions",
            f"older than NOTIFICATION_RETENTION_DAYS and still there: {', '.join(late)}",
            "Is `beat` running? The log of `bulk` says why: partition_kept (a long reader) or partition_not_archived.",
            **details,
        )
    elif old:
        yield note(
            "partitions", f"to be dropped soon: {', '.join(old)}", "Nothing: the next clean-up drops them.", **details
        )
    elif not lacking:
        yield fine("partitions", f"{len(partitions)}, up to {partitions[-1].ends_at:%Y-%m-%d}", **details)
