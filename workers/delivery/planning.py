"""Which deliveries there are. Everything is decided in SQL, for whole batches: never a query per person.

The webhook's are made in the transaction that makes an event processed: none is forgotten, none made
twice. For the e-mail fallback, a critical batch is noted in the transaction that stores it and looked at
EMAIL_FALLBACK_AFTER_SECONDS later: only people who have not confirmed by then get a delivery.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.delivery_counts import counted
from shared.settings import Settings
from workers.publishing import StoredBatch

CRITICAL = "critical"
BATCHES_PER_TURN = 10  # of 1,000 people: some 100 ms

NOTE = text("""
    INSERT INTO delivery_plans (event_id, n, channel, due_at)
    SELECT id, number, 'email', clock_timestamp() + make_interval(secs => :after)
    FROM unnest(CAST(:event_ids AS bigint[]), CAST(:ns AS integer[])) AS noted (id, number)
    ON CONFLICT DO NOTHING
""")

# Confirmed: delivered, seen or read over a socket, or dealt with in the inbox.
PLAN_EMAILS = text(f"""
    WITH chosen AS MATERIALIZED (  -- as in `workers.delivery.claiming`: a subquery may take more than its limit
        SELECT event_id, n, channel FROM delivery_plans WHERE channel = 'email' AND due_at <= now()
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), due AS (
        DELETE FROM delivery_plans WHERE (event_id, n, channel) IN (SELECT * FROM chosen)
        RETURNING event_id, n
    ), person AS (
        SELECT batch.event_id, unnest(recipient_ids) AS id
        FROM due JOIN event_batches batch ON batch.event_id = due.event_id AND batch.n = due.n
    ), made AS (
        INSERT INTO deliveries (event_id, recipient_id, channel, status, reason, finished_at)
        SELECT person.event_id, users.id, 'email',
               CASE WHEN reason IS NULL THEN 'pending' ELSE 'skipped' END,
               reason, CASE WHEN reason IS NOT NULL THEN now() END
        FROM person JOIN users ON users.id = person.id
        JOIN notifications n ON n.recipient_id = person.id AND n.event_id = person.event_id
        CROSS JOIN LATERAL (SELECT CASE WHEN NOT is_active THEN 'inactive'
                                        WHEN coalesce(trim(email), '') = '' THEN 'no_address' END AS reason) AS found
        WHERE delivered_at IS NULL AND seen_at IS NULL AND read_at IS NULL AND deleted_at IS NULL AND archived_at IS NULL
        ORDER BY person.event_id, users.id
        ON CONFLICT DO NOTHING
        RETURNING event_id, channel, status
    ), counted AS ({counted("made")})
    SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM made WHERE status = 'pending'),
           (SELECT count(*) FROM made WHERE status = 'skipped')
""")

PLAN_WEBHOOKS = text("""
    INSERT INTO deliveries (event_id, channel) SELECT unnest(CAST(:ids AS bigint[])), 'webhook' ON CONFLICT DO NOTHING
""")


def note_critical(session: Session, settings: Settings, batches: Sequence[StoredBatch]) -> None:
    """Remember the critical ones of these batches, stored in this transaction, for the e-mail fallback."""
    noted = [batch.key for batch in batches if batch.event.priority == CRITICAL] if settings.mails_critical else []
    if noted:
        values = {"event_ids": [event_id for event_id, _ in noted], "ns": [n for _, n in noted]}
        session.execute(NOTE, {**values, "after": settings.email_fallback_after_seconds})


def plan_emails(session: Session, limit: int = BATCHES_PER_TURN) -> tuple[int, int, int]:
    """Make the deliveries of batches whose time to confirm is over: (batches, to send, skipped)."""
    batches, pending, skipped = session.execute(PLAN_EMAILS, {"limit": limit}).one()
    return batches, pending, skipped


def plan_webhooks(session: Session, settings: Settings, event_ids: Sequence[int]) -> None:
    """Make the webhook's deliveries of events that this transaction makes processed."""
    if settings.webhook_url is not None and event_ids:
        session.execute(PLAN_WEBHOOKS, {"ids": sorted(event_ids)})
