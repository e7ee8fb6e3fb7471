"""What the workers log of events: one line for each, with its id, whom it was for and how long it took.

Never contents. The names of groups are no contents; of a long audience the first are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.logs import get_logger
from workers.publishing import StoredBatch

SHOWN_TERMS = 5
SPOKEN = text("SELECT id, audience, exclude, created_at FROM notification_events WHERE id = ANY(:ids)")

log = get_logger("workers")


def report_processed(event_ids: Sequence[int], batches: Iterable[StoredBatch], turn_seconds: float) -> None:
    """A line for each event that was planned and stored in one turn, also for those that reached nobody."""
    by_event = {event_id: list(own) for event_id, own in groupby(batches, lambda batch: batch.event.id)}
    for event_id in event_ids:
        own = by_event.get(event_id)
        if own is None:
            log.info("event_processed", event_id=event_id, people=0)
            continue
        kinds: dict[str, int] = {}
        for batch in own:
            kinds[batch.kind] = kinds.get(batch.kind, 0) + len(batch.recipient_ids)
        log.info(
            "event_processed",
            event_id=event_id,
            people=sum(kinds.values()),
            kinds=kinds,
            **_aim(own[0].event),
            turn_ms=round(1000 * turn_seconds, 1),
        )


def report_planned(session: Session, event_id: int, batches: int) -> None:
    """A line for a large event, whose batches are stored from now on."""
    event = session.execute(SPOKEN, {"ids": [event_id]}).one()
    log.info("event_planned", event_id=event_id, batches=batches, **_aim(event))


def report_finished(session: Session, finished: Sequence[tuple[int, int]]) -> None:
    """A line for each large event of which the last batch is stored."""
    people = dict(finished)
    for event in session.execute(SPOKEN, {"ids": list(people)}) if people else ():
        log.info("event_processed", event_id=event.id, people=people[event.id], **_aim(event))


def _aim(event: Any) -> dict[str, Any]:
    """Whom it was for, and its age: from being recorded to now."""
    terms = [" & ".join(term) for term in event.audience[:SHOWN_TERMS]]
    more = len(event.audience) - len(terms)
    age = datetime.now(UTC) - event.created_at
    return {
        "audience": terms + ([f"and {more} more"] if more else []),
        **({"exclude": event.exclude[:SHOWN_TERMS]} if event.exclude else {}),
        "age_ms": round(1000 * age.total_seconds(), 1),
    }
