"""The doors: what a message wakes. Each takes along everything that waits, and rings again if more does.

A task that is killed, or finds a server away, is not tried again by the broker: what it left is found
by the next ring or by the sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import redis
from sqlalchemy.exc import OperationalError

from shared import partitions
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import NotificationError
from shared.logs import get_logger
from shared.settings import Settings, get_settings
from shared.tasks import (
    ANNOUNCE_PEOPLE,
    CLEAN_UP,
    FOLD_COUNTS,
    MAKE_PARTITIONS,
    PLAN_BULK,
    PROCESS_EVENT,
    PUBLISH_BATCHES,
    SEND_EMAILS,
    SEND_WEBHOOKS,
    STORE_BATCHES,
    SWEEP,
)
from shared.topics import PeopleMessage
from workers import (
    cleaning,
    counting,
    erasing,
    planning,
    publishing,
    reporting,
    retention,
    storing,
    upkeep,
)
from workers.app import app
from workers.delivery import claiming as deliveries
from workers.delivery.email import EmailChannel
from workers.delivery.planning import plan_emails
from workers.delivery.turn import HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS, take_turn
from workers.delivery.webhook import WebhookChannel
from workers.publishing import StoredBatch

TURN_SECONDS = 0.25  # of storing, so that a bulk worker is free for other events in between
# Archiving a hundred million takes a quarter of an hour. The broker delivers the message again before that:
# harmless, the second finds the lock taken.
CLEAN_UP_SECONDS = 3600

log = get_logger("workers")


def door(name: str, **options: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A task. A server that is away, or a collision of two workers, ends it with a line and is nobody's fault.

    `options` are Celery's, such as time limits.
    """

    def decorate(work: Callable[[], None]) -> Callable[[], None]:
        @wraps(work)
        def run() -> None:
            try:
                work()
            except OperationalError as error:
                log.warning("database_away", task=name, error=str(error.orig).strip().partition("\n")[0])
            except redis.RedisError as error:
                log.warning("redis_away", task=name, error=str(error))

        return app.task(name=name, **options)(run)

    return decorate


@door(PROCESS_EVENT)
def process_event() -> None:
    """Plan and store what is pending; large events go on in the bulk lane."""
    started = time.monotonic()
    try:
        with transaction() as session:
            turn = planning.process_events(session, get_settings())
    except OperationalError:
        raise
    except Exception:
        log.exception("events_failed_together")
        _process_one_by_one()
    else:
        _after(turn, started)


def _process_one_by_one() -> None:
    """One faulty event must not hold up those it was taken with."""
    with transaction() as session:
        waiting = planning.claim_events(session, bulk=False, limit=planning.EVENTS_PER_TURN)
    for event_id in waiting:
        started = time.monotonic()
        try:
            with transaction() as session:
                turn = planning.process_events(session, get_settings(), only=event_id)
        except OperationalError:
            raise
        except Exception as error:
            with transaction() as session:
                status = planning.record_failure(session, event_id, error)
            log.exception("event_failed", event_id=event_id, status=status)
        else:
            _after(turn, started)


def _after(turn: planning.Turn, started: float) -> None:
    """The transaction is committed: ring for what it left, and send what it stored."""
    if not turn.took_all:
        ring(PROCESS_EVENT)
    if turn.bulk:
        ring(PLAN_BULK)
    _publish(turn.batches)
    _ring_webhook(turn.events)
    reporting.report_processed(turn.events, turn.batches, time.monotonic() - started)


@door(PLAN_BULK)
def plan_bulk() -> None:
    """Plan one large event; its batches are stored by whoever wakes for them."""
    try:
        with transaction() as session:
            planned = planning.plan_bulk_event(session, get_settings())
            if planned:
                reporting.report_planned(session, *planned)
    except OperationalError:
        raise
    except Exception as error:
        with transaction() as session:
            for event_id in planning.claim_events(session, bulk=True, limit=1):
                status = planning.record_failure(session, event_id, error)
                log.exception("event_failed", event_id=event_id, status=status)
        ring(PLAN_BULK)  # the next event need not wait for the sweep
        return
    if planned:
        ring(STORE_BATCHES)
        ring(PLAN_BULK)


@door(STORE_BATCHES)
def store_batches() -> None:
    """Store batches for a quarter of a second. Its first act wakes a colleague, until nothing is left."""
    deadline = time.monotonic() + TURN_SECONDS
    has_rung = False
    while time.monotonic() < deadline:
        with transaction() as session:
            keys = storing.claim_batches(session)
            batches = storing.store_planned(session, keys)
        if not keys:
            return
        if not has_rung:
            has_rung = ring(STORE_BATCHES)
        _publish(batches)
        with transaction() as session:
            finished = storing.finish_events(session, sorted({event_id for event_id, _ in keys}))
            reporting.report_finished(session, finished)
        _ring_webhook(finished)


@door(PUBLISH_BATCHES)
def publish_batches() -> None:
    """Publish what was stored and forgotten."""
    with transaction() as session:
        forgotten = publishing.forgotten_batches(session)
    if forgotten and _publish(forgotten):
        log.info(
            "batches_published_late", batches=len(forgotten), event_ids=sorted({batch.event.id for batch in forgotten})
        )
        ring(PUBLISH_BATCHES)


def _publish(batches: Sequence[StoredBatch]) -> bool:
    """Send and mark; False when Redis is away: gateways read on their own, the sweep sends again."""
    if not batches:
        return True
    try:
        keys = publishing.publish(batches)
    except redis.RedisError as error:
        log.warning("publish_failed", batches=len(batches), error=str(error))
        return False
    with transaction() as session:
        publishing.mark_published(session, keys)
    return True


def _ring_webhook(processed: Sequence[object]) -> None:
    if processed and get_settings().webhook_url is not None:
        ring(SEND_WEBHOOKS)


@door(SEND_EMAILS, soft_time_limit=SOFT_LIMIT_SECONDS, time_limit=HARD_LIMIT_SECONDS)
def send_emails() -> None:
    """Mail what people have not confirmed in time."""
    settings = get_settings()
    if settings.smtp_url is None:
        return
    with transaction() as session:
        batches, pending, skipped = plan_emails(session)
    if batches:
        log.info("emails_planned", batches=batches, pending=pending, skipped=skipped)
        ring(SEND_EMAILS)
    take_turn(EmailChannel(settings))


@door(SEND_WEBHOOKS, soft_time_limit=SOFT_LIMIT_SECONDS, time_limit=HARD_LIMIT_SECONDS)
def send_webhooks() -> None:
    """Tell WEBHOOK_URL what was processed."""
    settings = get_settings()
    if settings.webhook_url is not None:
        take_turn(WebhookChannel(settings))


@door(ANNOUNCE_PEOPLE)
def announce_people() -> None:
    """Tell the gateways that people, roles or memberships changed."""
    publishing.announce(PeopleMessage())


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
    for door in doors:
        ring(door)


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
