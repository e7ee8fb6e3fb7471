"""Who sends what now. A claim is a lease: what a killed worker held comes back when it ends.

Retries wait with exponential backoff and full jitter: a random time of up to 30 s, then up to 1, 2, 4,
8, 16 and 32 minutes, or longer if the provider asks for it; after the eighth try the delivery is kept as
failed. A channel whose provider is down rests 5, 10, 20, 40, 80, 160, then 300 s; after each rest one delivery probes it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.delivery_counts import counted
from shared.settings import Settings
from shared.tasks import SEND_EMAILS, SEND_WEBHOOKS
from shared.texts import one_line
from workers.delivery.channel import TRIED_TOO_OFTEN, Channel, Outcome

MAX_ATTEMPTS = 8
FIRST_WAIT_SECONDS = 30
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 5, 300
LEASE_SECONDS = 120  # above the task's time limit: a claim never ends under a worker that still sends
SAID_CHARACTERS = 500

LOCK_CHANNEL = text("""
    SELECT failures, coalesce(paused_until > now(), false) AS is_paused,
           (SELECT count(DISTINCT claimed_at) FROM deliveries
            WHERE deliveries.channel = :channel AND status = 'sending' AND next_attempt_at > now()) AS senders
    FROM delivery_channels WHERE channel = :channel FOR UPDATE
""")

# Materialized: as a subquery, PostgreSQL may run it again for each row, and each time it skips what is locked by now
# and takes others, beyond its limit.
CLAIM = """
    WITH chosen AS MATERIALIZED ({chosen})
    UPDATE deliveries SET status = 'sending', claimed_at = now(), next_attempt_at = now() + make_interval(secs => :lease)
    WHERE id IN (SELECT id FROM chosen)
    RETURNING id, attempts, claimed_at
"""
DUE = """
    SELECT id FROM deliveries
    WHERE channel = :channel AND status IN ('pending', 'sending') AND next_attempt_at <= now()
    ORDER BY next_attempt_at, id LIMIT :limit
    FOR UPDATE SKIP LOCKED
"""
# The oldest that is not finished, if it is due; else nobody. It also waits for older events that are just
# being processed, but not for large ones or for those that failed at planning: that can take minutes.
OLDEST = """
    SELECT id FROM deliveries
    WHERE id = (SELECT id FROM deliveries WHERE channel = :channel AND status IN ('pending', 'sending')
                ORDER BY event_id LIMIT 1)
      AND next_attempt_at <= now()
      AND NOT EXISTS (SELECT FROM notification_events older
                      WHERE older.status = 'pending' AND NOT older.bulk AND older.id < deliveries.event_id
                        AND older.retry_at IS NULL)
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
"""
CLAIM_DUE, CLAIM_OLDEST = text(CLAIM.format(chosen=DUE)), text(CLAIM.format(chosen=OLDEST))

# Only the claim that is still held says anything: after its end somebody else may be sending.
RECORD = text(f"""
    WITH recorded AS (
        UPDATE deliveries SET
            status = :status, reason = :reason, error = :error, provider_id = coalesce(:provider_id, provider_id),
            attempts = attempts + :tries, claimed_at = NULL,
            next_attempt_at = now() + make_interval(secs => :wait_seconds),
            finished_at = CASE WHEN :status <> 'pending' THEN now() END
        WHERE id = :id AND status = 'sending' AND claimed_at = :claimed_at
        RETURNING event_id, channel, status
    )
    {counted("recorded")}
""")

GIVE_BACK = text("""
    UPDATE deliveries SET status = 'pending', claimed_at = NULL, next_attempt_at = now()
    WHERE id = ANY(:ids) AND status = 'sending' AND claimed_at = :claimed_at
""")

REST = text("""
    UPDATE delivery_channels SET failures = failures + 1, error = :error,
        paused_until = now() + make_interval(secs => least(:longest, :first * 2 ^ least(failures, 20)))
    WHERE channel = :channel RETURNING failures
""")
WORKS = text(
    "UPDATE delivery_channels SET failures = 0, paused_until = NULL, error = NULL WHERE channel = :channel AND failures > 0"
)

WAITING = text("""
    SELECT channel FROM delivery_channels WHERE channel = ANY(:channels) AND coalesce(paused_until <= now(), true)
      AND (EXISTS (SELECT FROM deliveries WHERE deliveries.channel = delivery_channels.channel
                   AND status IN ('pending', 'sending') AND next_attempt_at <= now())
           OR EXISTS (SELECT FROM delivery_plans WHERE delivery_plans.channel = delivery_channels.channel
                      AND due_at <= now()))
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """Deliveries that one worker may send until its lease ends: their tries so far, and when it began."""

    channel: str
    attempts: dict[int, int]
    claimed_at: datetime
    is_probe: bool


def claim(session: Session, channel: Channel) -> Claim | None:
    """Take what is due; None when nothing is, the channel rests, or enough others are sending."""
    found = session.execute(LOCK_CHANNEL, {"channel": channel.name}).one()
    is_probe = found.failures > 0
    if found.is_paused or found.senders >= (1 if is_probe else channel.senders):
        return None
    statement = CLAIM_OLDEST if channel.ordered else CLAIM_DUE
    limit = 1 if is_probe or channel.ordered else channel.batch_size
    rows = session.execute(statement, {"channel": channel.name, "limit": limit, "lease": LEASE_SECONDS}).all()
    if not rows:
        return None
    return Claim(channel.name, {row.id: row.attempts for row in rows}, rows[0].claimed_at, is_probe)


def record(session: Session, held: Claim, delivery_id: int, outcome: Outcome) -> Outcome:
    """Write down what became of one delivery, and when it is tried again; what it then is."""
    tries = 0 if outcome.status == "skipped" else 1
    attempts = held.attempts[delivery_id] + tries
    if outcome.status == "pending" and attempts >= MAX_ATTEMPTS:
        outcome = Outcome("failed", TRIED_TOO_OFTEN, outcome.error)
    values: dict[str, Any] = {
        "id": delivery_id,
        "claimed_at": held.claimed_at,
        "status": outcome.status,
        "reason": outcome.reason,
        "error": None if outcome.error is None else _kept(outcome.error),
        "provider_id": None if outcome.provider_id is None else _kept(outcome.provider_id),
        "tries": tries,
        "wait_seconds": max(wait_seconds(attempts), outcome.not_before_seconds) if outcome.status == "pending" else 0,
    }
    session.execute(RECORD, values)
    return outcome


def _kept(said: str) -> str:
    """What a foreign server said, as PostgreSQL can store it and a terminal can show it."""
    return one_line(said.encode(errors="replace").decode())[:SAID_CHARACTERS]


def wait_seconds(attempts: int) -> float:
    """How long to wait after so many tries. Full jitter spreads what failed together:
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/."""
    return random.uniform(0, FIRST_WAIT_SECONDS * 2 ** (attempts - 1))


def give_back(session: Session, held: Claim, delivery_ids: Sequence[int]) -> None:
    """Let others send these at once; they were not tried."""
    if delivery_ids:
        session.execute(GIVE_BACK, {"ids": list(delivery_ids), "claimed_at": held.claimed_at})


def rest(session: Session, channel: str, error: str) -> int:
    """Open the circuit: nobody sends through this channel for a while. How often in a row by now."""
    values = {"channel": channel, "error": _kept(error), "first": FIRST_REST_SECONDS, "longest": LONGEST_REST_SECONDS}
    return int(session.scalar(REST, values) or 0)


def works(session: Session, channel: str) -> None:
    """Close the circuit: the provider answered."""
    session.execute(WORKS, {"channel": channel})


def doors_to_ring(session: Session, settings: Settings) -> list[str]:
    """The doors of channels that are configured and for which something is due."""
    doors = {"email": SEND_EMAILS} if settings.smtp_url is not None else {}
    if settings.webhook_url is not None:
        doors["webhook"] = SEND_WEBHOOKS
    return [doors[name] for name in session.scalars(WAITING, {"channels": list(doors)})] if doors else []
