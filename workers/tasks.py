"""The doors: what a message wakes. Each takes along everything that waits, and rings again if more does.

A task that is killed, or finds a server away, is not tried again by the broker: what it left is found
by the next ring or by the sweep.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import wraps

import redis
from sqlalchemy.exc import OperationalError

from shared import partitions
from shared.database import transaction
from shared.doorbell import ring
from shared.logs import get_logger
from shared.settings import get_settings
from shared.tasks import (
    ANNOUNCE_PEOPLE,
    MAKE_PARTITIONS,
    PLAN_BULK,
    PROCESS_EVENT,
    PUBLISH_BATCHES,
    STORE_BATCHES,
    SWEEP,
)
from shared.topics import PeopleMessage
from workers import planning, publishing, storing, upkeep
from workers.app import app
from workers.publishing import StoredBatch

TURN_SECONDS = 0.25  # of storing, so that a bulk worker is free for other events in between

log = get_logger("workers")


def door(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A task. A server that is away, or a collision of two workers, ends it with a line and is nobody's fault."""

    def decorate(work: Callable[[], None]) -> Callable[[], None]:
        @wraps(work)
        def run() -> None:
            try:
                work()
            except OperationalError as error:
                log.warning("database_away", task=name, error=str(error.orig).strip().partition("\n")[0])
            except redis.RedisError as error:
                log.warning("redis_away", task=name, error=str(error))

        return app.task(name=name)(run)

    return decorate


@door(PROCESS_EVENT)
def process_event() -> None:
    """Plan and store what is pending; large events go on in the bulk lane."""
    try:
        with transaction() as session:
            turn = planning.process_events(session, get_settings())
    except OperationalError:
        raise
    except Exception:
        log.exception("events_failed_together")
        _process_one_by_one()
    else:
        _after(turn)


def _process_one_by_one() -> None:
    """One faulty event must not hold up those it was taken with."""
    with transaction() as session:
        waiting = planning.claim_events(session, bulk=False, limit=planning.EVENTS_PER_TURN)
    for event_id in waiting:
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
            _after(turn)


def _after(turn: planning.Turn) -> None:
    """The transaction is committed: ring for what it left, and send what it stored."""
    if not turn.took_all:
        ring(PROCESS_EVENT)
    if turn.bulk:
        ring(PLAN_BULK)
    _publish(turn.batches)
    if turn.events:
        log.info("events_processed", events=len(turn.events), last_event_id=turn.events[-1],
                 people=sum(len(batch.recipient_ids) for batch in turn.batches))


@door(PLAN_BULK)
def plan_bulk() -> None:
    """Plan one large event; its batches are stored by whoever wakes for them."""
    try:
        with transaction() as session:
            planned = planning.plan_bulk_event(session, get_settings())
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
        event_id, batches = planned
        log.info("event_planned", event_id=event_id, batches=batches)
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
        for event_id, people in finished:
            log.info("event_processed", event_id=event_id, people=people)


@door(PUBLISH_BATCHES)
def publish_batches() -> None:
    """Publish what was stored and forgotten."""
    with transaction() as session:
        forgotten = publishing.forgotten_batches(session)
    if forgotten and _publish(forgotten):
        log.info("batches_published_late", batches=len(forgotten))
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
        doors = upkeep.doors_to_ring(session)
    for event_id in too_old:
        log.error("event_failed", event_id=event_id, error="too_old")
    for door in doors:
        ring(door)


@door(MAKE_PARTITIONS)
def make_partitions() -> None:
    """Make the partitions of the coming weeks."""
    with transaction() as session:
        for name in partitions.make_partitions(session):
            log.info("partition_made", name=name)
