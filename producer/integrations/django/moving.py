"""From the outbox in the application's database to our tables: in order, each once, whoever moves and dies.

Entries are recorded first and taken away afterwards, with keys by which recording them again changes
nothing. One process moves at a time, so that the order is kept and no older state of a person overwrites a
newer one; the lock is one of our database, held for a batch: nothing of the application's is locked
meanwhile. A refused entry stays behind with its error and takes nobody along.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, connections
from django.db import transaction as django_transaction
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from producer.integrations.django.reading import cause, read
from producer.integrations.django.recording import Outcome, record_waiting
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import NotificationError, Unavailable
from shared.events import LOCK_NOT_AVAILABLE
from shared.logs import get_logger
from shared.settings import Settings, get_settings

BATCH = 500  # entries in a transaction of ours: 11 statements, 0.4 s on two busy cores, at most 8 MB of data
SHARE_SECONDS = 1.0  # that a request spends on what others have left behind
TURN_SECONDS = 1.0  # that a request waits for whoever moves; they take its entries along
REST_SECONDS = 5.0  # without a try once our database was away: it costs requests nothing meanwhile

WAIT_FOR_TURN = """
    SET LOCAL lock_timeout = '{milliseconds}ms';
    SELECT pg_advisory_xact_lock(hashtext('stagebloom django outbox'));
    SET LOCAL lock_timeout TO DEFAULT
"""


log = get_logger("django")

_rest_until = 0.0  # of time.monotonic(), for this process


@dataclass(slots=True)
class Moved:
    """What became of the entries that were looked at."""

    recorded: int = 0
    refused: int = 0
    left: set[int] = field(default_factory=set)  # another transaction holds their key, or them: next time


def move_after_commit(using: str, own: str) -> None:
    """Move what waits, at least what the transaction `own` has written; the request never fails by it."""
    global _rest_until
    if time.monotonic() < _rest_until:
        return
    try:
        move(using, TURN_SECONDS, own)
    except Unavailable:
        log.debug("outbox_is_being_moved", using=using)
    except (NotificationError, SQLAlchemyError, DatabaseError) as error:
        _rest_until = time.monotonic() + REST_SECONDS
        log.warning("outbox_waits", using=using, error=cause(error))


def move(using: str, turn_seconds: float, own: str = "") -> Moved:
    """Move what waits in one database of the application, batch by batch, until nothing is left.

    Waits `turn_seconds` for another process that does the same. With `own`, the token of a transaction, it
    ends sooner when only entries of others are left. Raises: Unavailable when others were moving all the time;
    errors of either database. What waits stays.
    """
    settings, moved = get_settings(), Moved()
    deadline = time.monotonic() + SHARE_SECONDS
    while entries := _move_batch(using, moved, turn_seconds, settings):
        is_own = any(entry.transaction == own for entry in entries)
        if own and not is_own and time.monotonic() > deadline:
            break
    return moved


def _move_batch(using: str, moved: Moved, turn_seconds: float, settings: Settings) -> list[Any]:
    """Record the first entries and take them away; those that were looked at."""
    from producer.integrations.django.models import OutboxEntry

    waiting = OutboxEntry.objects.using(using).filter(refused_at=None).order_by("pk")
    outcome = Outcome()
    with transaction(settings) as session:
        _wait_for_turn(session, turn_seconds)
        entries = list(waiting.exclude(pk__in=moved.left)[:BATCH])
        if entries:
            record_waiting(session, read(entries, using), outcome, settings)
    left = {entry.pk for entry in outcome.left} | _take_away(using, outcome.recorded)
    _keep(using, outcome.refused)
    for task in outcome.rings:
        ring(task, settings)
    if entries:
        log.debug("outbox_moved", using=using, recorded=len(outcome.recorded), refused=len(outcome.refused))
    moved.recorded += len(outcome.recorded)
    moved.refused += len(outcome.refused)
    moved.left |= left
    return entries


def _wait_for_turn(session: Session, seconds: float) -> None:
    try:
        session.execute(text(WAIT_FOR_TURN.format(milliseconds=int(seconds * 1000))))
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
            raise
        raise Unavailable("outbox: another process is moving what waits; try again") from error


def _take_away(using: str, entries: Sequence[Any]) -> set[int]:
    """Delete what is recorded; the ids of what another process holds, which does the same just now."""
    ids = {entry.pk for entry in entries}
    if not ids:
        return ids
    rows = type(entries[0]).objects.using(using)
    if not connections[using].features.has_select_for_update_skip_locked:  # SQLite: one writes at a time
        rows.filter(pk__in=ids).delete()
        return set()
    with django_transaction.atomic(using=using):
        free = rows.select_for_update(skip_locked=True).filter(pk__in=ids).values_list("pk", flat=True)
        held = ids.difference(free)
        rows.filter(pk__in=ids - held).delete()
    return held


def _keep(using: str, entries: Sequence[Any]) -> None:
    if entries:
        type(entries[0]).objects.using(using).bulk_update(entries, ["error", "refused_at"], batch_size=100)
