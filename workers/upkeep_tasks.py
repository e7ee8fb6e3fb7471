"""The doors that beat wakes: the sweep, the counts, partitions, and what has had its day.

Each may be rung by several beats at once, and finds again whatever a killed one left.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy.exc import OperationalError

from shared import partitions
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import NotificationError
from shared.logs import get_logger
from shared.settings import Settings, get_settings
from shared.tasks import CLEAN_UP, FOLD_COUNTS, MAKE_PARTITIONS, SWEEP
from workers import cleaning, counting, erasing, retention, storing, upkeep
from workers.delivery import claiming as deliveries
from workers.door import door

# Archiving a hundred million takes a quarter of an hour. The broker delivers the message again before that:
# harmless, the second finds the lock taken.
CLEAN_UP_SECONDS = 3600

log = get_logger("workers")


@door(SWEEP)
def sweep() -> None:
    """Ring for whatever stood still."""
    with transaction() as session:
        too_old = upkeep.fail_too_old(session)
        storing.finish_events(session)
        upkeep.forget_dead_gateways(session)
        doors = upkeep.doors_to_ring(session) + deliveries.doors_to_ring(session, get_settings())
    for event_id in too_old:
        log.error("event_failed", event_id=event_id, error="too_old")
    for task in doors:
        ring(task)


@door(FOLD_COUNTS)
def fold_counts() -> None:
    """Fold what happened into the statistics."""
    with transaction() as session:
        took_all = counting.fold_counts(session)
    if not took_all:
        ring(FOLD_COUNTS)


@door(MAKE_PARTITIONS)
def make_partitions() -> None:
    """Make the partitions of the coming weeks."""
    with transaction() as session:
        for name in partitions.make_partitions(session):
            log.info("partition_made", name=name)


@door(CLEAN_UP, soft_time_limit=CLEAN_UP_SECONDS, time_limit=CLEAN_UP_SECONDS + 60)
def clean_up() -> None:
    """Archive and drop the weeks that are old, then delete, piece by piece, what has had its day."""
    settings = get_settings()
    with transaction() as session:
        outdated = retention.find_outdated(session, settings)
    for partition in outdated:
        _retire(partition, settings.notification_archive_dir)
    with transaction() as session:
        limits = cleaning.find_limits(session, settings)
    for rule in cleaning.RULES:
        deleted = cleaning.delete_all(transaction, rule, limits)
        if deleted:
            log.info("cleaned", table=rule.table, rows=deleted)
    _end_erasures(settings)


def _end_erasures(settings: Settings) -> None:
    """People who were erased leave the archives, and then their nameless rows go."""
    try:
        with transaction() as session:
            forgotten = erasing.forget_in_archives(session, settings)
        if forgotten:
            log.info("archives_forgot", people=forgotten)
    except (OSError, RuntimeError, NotificationError) as error:
        log.error("archive_not_rewritten", error=str(error))  # it is tried again within the hour
    with transaction() as session:
        erasing.delete_erased(session)


def _retire(partition: partitions.Partition, directory: Path | None) -> None:
    """A week that can't be archived or dropped now stays for the next time; the others go on."""
    try:
        if directory is not None:
            with transaction() as session:
                archive = retention.archive_week(session, partition, directory)
            if archive is None:
                return  # another worker is at it
            log.info(
                "partition_archived", name=partition.name, notifications=archive.notifications, events=archive.events
            )
        started = time.monotonic()
        with transaction() as session:
            is_dropped = retention.drop_week(session, partition)
        if is_dropped:
            log.info("partition_dropped", name=partition.name, seconds=round(time.monotonic() - started, 3))
    except OperationalError as error:
        log.warning("partition_kept", name=partition.name, reason=str(error.orig).strip().partition("\n")[0])
    except (OSError, RuntimeError, NotificationError) as error:
        log.error("partition_not_archived", name=partition.name, error=str(error))
