"""Step ④: a batch becomes one notification per person, with one set-based statement.

`stored_at` is set under the batch's row lock in the transaction that stores it, and nothing stores such
a batch again: killed anywhere, any number of times, everyone has exactly one notification, and what a
person deleted stays deleted.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.settings import get_settings
from workers.delivery.planning import note_critical, plan_webhooks
from workers.publishing import StoredBatch, load_batches

BATCHES_PER_TRANSACTION = 4  # of 1,000: some 20 ms, so that several workers share a large event evenly

CLAIM = text("""
    SELECT event_id, n FROM event_batches WHERE stored_at IS NULL
    ORDER BY event_id, n LIMIT :limit
    FOR UPDATE SKIP LOCKED
""")

STORE = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid)
    SELECT unnest(recipient_ids), event_id, pg_current_xact_id()
    FROM event_batches JOIN unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS chosen (id, number)
      ON event_id = id AND n = number
    WHERE stored_at IS NULL
    ON CONFLICT DO NOTHING
""")

MARK_STORED = text("""
    UPDATE event_batches SET stored_at = clock_timestamp(), stored_xid = pg_current_xact_id()
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS chosen (id, number)
    WHERE event_id = id AND n = number AND stored_at IS NULL
""")

FINISH = text("""
    UPDATE notification_events SET status = 'processed', processed_at = clock_timestamp()
    WHERE status = 'planned' AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(:ids))
      AND NOT EXISTS (SELECT FROM event_batches WHERE event_id = id AND stored_at IS NULL)
    RETURNING id, recipient_count
""")


def claim_batches(session: Session, limit: int = BATCHES_PER_TRANSACTION) -> list[tuple[int, int]]:
    """Lock the oldest batches that are not stored and that nobody else has locked: (event id, n)."""
    return [(event_id, n) for event_id, n in session.execute(CLAIM, {"limit": limit})]


def store_planned(session: Session, keys: list[tuple[int, int]]) -> list[StoredBatch]:
    """Store these batches, locked by or new in this transaction; what is to be published after it."""
    if not keys:
        return []
    values = {"event_ids": [event_id for event_id, _ in keys], "ns": [n for _, n in keys]}
    session.execute(STORE, values)
    session.execute(MARK_STORED, values)
    batches = load_batches(session, keys)
    note_critical(session, get_settings(), batches)
    return batches


def finish_events(session: Session, event_ids: list[int] | None = None) -> list[tuple[int, int]]:
    """Mark planned events processed whose batches are all stored (default: any): (id, recipients).

    In a transaction of its own, after the storing one: of two workers that store an event's last
    batches side by side, neither sees the other's before it commits.
    """
    finished = [(event_id, count) for event_id, count in session.execute(FINISH, {"ids": event_ids})]
    plan_webhooks(session, get_settings(), [event_id for event_id, _ in finished])
    return finished
