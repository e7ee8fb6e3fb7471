"""Retention: weeks of notifications that nobody is shown any more are archived, if wanted, and dropped.

A week goes as a whole: DROP TABLE of its partition takes milliseconds whatever it holds, where deleting
would take hours and leave holes. What else has had its day goes in small pieces (`cleaning.py`).

Guarantees: with NOTIFICATION_ARCHIVE_DIR nothing is dropped that is not in a verified archive; nobody
waits longer than the 200 ms that a drop may wait for its lock; one worker at a time.
Never: drops a week of which a batch is still to be stored.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.archive import Archive, write_archive
from shared.partitions import Partition, drop_partition, list_partitions, outdated_partitions
from shared.settings import Settings

LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext('stagebloom retention'))")
ONE_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
UNSTORED = text(
    "SELECT EXISTS (SELECT FROM event_batches WHERE stored_at IS NULL AND event_id >= :first_id AND event_id < :end_id)"
)


def find_outdated(session: Session, settings: Settings) -> list[Partition]:
    """The weeks that may go, oldest first; none of which something is still to be stored."""
    outdated = outdated_partitions(session, timedelta(days=settings.notification_retention_days))
    return [
        partition
        for partition in outdated
        if not session.scalar(UNSTORED, {"first_id": partition.first_id, "end_id": partition.end_id})
    ]


def archive_week(session: Session, partition: Partition, directory: Path) -> Archive | None:
    """Archive it in this new transaction's snapshot; None when another worker is at it."""
    session.execute(ONE_SNAPSHOT)
    return write_archive(session, partition, directory) if session.scalar(LOCK) else None


def drop_week(session: Session, partition: Partition) -> bool:
    """Drop it; False when another worker did, or is at work. Raises: OperationalError after 200 ms."""
    if not session.scalar(LOCK) or partition not in list_partitions(session):
        return False
    drop_partition(session, partition)
    return True
