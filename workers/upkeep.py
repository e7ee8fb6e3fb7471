"""The sweep: whatever stood still at any step is taken up again. The broker is a hint, this is the promise.

Safe to run by several at once: it only rings, and marks what nobody can still be working on.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import first_event_id_at
from shared.tasks import PLAN_BULK, PROCESS_EVENT, PUBLISH_BATCHES, STORE_BATCHES
from workers.planning import MAX_PLAN_AGE
from workers.publishing import STALE_SECONDS

# A tenth of a millisecond each: every question is answered by a partial index that is nearly empty.
WAITING = text("""
    SELECT EXISTS (SELECT FROM notification_events WHERE status = 'pending' AND NOT bulk
                   AND (retry_at IS NULL OR retry_at <= now())),
           EXISTS (SELECT FROM notification_events WHERE status = 'pending' AND bulk
                   AND (retry_at IS NULL OR retry_at <= now())),
           EXISTS (SELECT FROM event_batches WHERE stored_at IS NULL),
           EXISTS (SELECT FROM event_batches WHERE stored_at IS NOT NULL AND published_at IS NULL
                   AND stored_at < now() - make_interval(secs => :stale))
""")
DOORS = (PROCESS_EVENT, PLAN_BULK, STORE_BATCHES, PUBLISH_BATCHES)

FAIL_TOO_OLD = text("""
    WITH chosen AS MATERIALIZED (
        SELECT id FROM notification_events WHERE status = 'pending' AND id < :oldest LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE notification_events SET status = 'failed', error = 'too_old' WHERE id IN (SELECT id FROM chosen)
    RETURNING id
""")

# After 30 s it counts as dead wherever it is asked for; one that only slept may still come back.
FORGET_DEAD = text("DELETE FROM gateways WHERE heard_at < now() - interval '5 minutes'")


def doors_to_ring(session: Session) -> list[str]:
    """The tasks for which something waits."""
    waiting = session.execute(WAITING, {"stale": STALE_SECONDS}).one()
    return [door for door, waits in zip(DOORS, waiting, strict=True) if waits]


def fail_too_old(session: Session) -> list[int]:
    """Give up events that nobody planned within a day: their partition and cursors have gone by."""
    oldest = first_event_id_at(datetime.now(UTC) - MAX_PLAN_AGE)
    return list(session.scalars(FAIL_TOO_OLD, {"oldest": oldest}))


def forget_dead_gateways(session: Session) -> None:
    """Gateways that have long been silent go, and with them the connections they held."""
    session.execute(FORGET_DEAD)
