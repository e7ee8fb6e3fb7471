"""The doors on the way of an event: what a message wakes.

Each takes along everything that waits, and rings again if more does. What beat wakes besides stands in
`workers.upkeep_tasks`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis
from sqlalchemy.exc import OperationalError

from shared.database import transaction
from shared.doorbell import ring
from shared.logs import get_logger
from shared.settings import get_settings
from shared.tasks import (
    ANNOUNCE_PEOPLE,
    PLAN_BULK,
    PROCESS_EVENT,
    PUBLISH_BATCHES,
    SEND_EMAILS,
    SEND_WEBHOOKS,
    STORE_BATCHES,
)
from shared.topics import PeopleMessage
from workers import planning, publishing, reporting, storing
from workers.delivery.email import EmailChannel
from workers.delivery.planning import plan_emails
from workers.delivery.turn import HARD_LIMIT_SECONDS, SOFT_LIMIT_SECONDS, take_turn
from workers.delivery.webhook import WebhookChannel
from workers.door import door
from workers.publishing import StoredBatch

TURN_SECONDS = 0.25  # of storing, so that a bulk worker is free for other events in between

log = get_logger("workers")


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
