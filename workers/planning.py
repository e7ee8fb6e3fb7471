"""Step ③: pending events become batches of people, once and for good.

The plan freezes who is notified: a role that changes afterwards adds nobody and drops nobody, and a
worker that is killed is followed by another at the same batch. A few statements serve all events
that are taken together; no people pass through Python. Events of up to BATCH_SIZE people are stored
in the same transaction, larger ones change to the `bulk` lane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import first_event_id_at
from shared.models import NotificationEvent
from shared.settings import Settings
from workers.delivery.planning import plan_webhooks
from workers.publishing import StoredBatch
from workers.storing import store_planned

EVENTS_PER_TURN = 200
PEOPLE_PER_TURN = 5000  # stored in one transaction: some 30 ms
MAX_PLAN_AGE = timedelta(hours=24)  # an older pending event fails as too_old


@dataclass(slots=True)
class Turn:
    """What one transaction of the events lane did."""

    events: list[int]  # taken and finished
    bulk: list[int]  # moved to the bulk lane
    batches: list[StoredBatch]  # stored: to be published after the commit
    took_all: bool  # nothing was left waiting as far as this turn could see


CLAIM = text("""
    SELECT id FROM notification_events
    WHERE status = 'pending' AND bulk = :bulk AND id >= :oldest AND (retry_at IS NULL OR retry_at <= now())
      AND (CAST(:only AS bigint) IS NULL OR id = :only)
    ORDER BY id LIMIT :limit
    FOR UPDATE SKIP LOCKED
""")

# An upper bound of the number of people, from at most :bound index entries a group: a term has no more
# people than its smallest group.
SIZES = text("""
    SELECT event.id, sum(term.size)
    FROM notification_events event
    CROSS JOIN LATERAL (
        SELECT (SELECT min(
                    CASE WHEN starts_with(name, 'user_') THEN 1
                         WHEN name = 'everyone' THEN (SELECT count(*) FROM (SELECT FROM users LIMIT :bound) AS found)
                         ELSE (SELECT count(*) FROM (
                                   SELECT FROM memberships WHERE group_name = name LIMIT :bound) AS found)
                    END)
                FROM jsonb_array_elements_text(groups) AS name) AS size
        FROM jsonb_array_elements(event.audience) AS groups
    ) term
    WHERE event.id = ANY(:ids)
    GROUP BY event.id
    ORDER BY event.id
""")

PLAN = text("""
    WITH event AS (
        SELECT id, texts, audience, exclude FROM notification_events WHERE id = ANY(:ids)
    ), term AS (
        SELECT event.id AS event_id, ordinality AS place, groups, jsonb_array_length(groups) AS size,
               CASE WHEN starts_with(groups->>0, 'role_') THEN 'role_notification'
                    WHEN groups->>0 = 'everyone' THEN 'system_message'
                    ELSE 'notification' END AS kind
        FROM event CROSS JOIN LATERAL jsonb_array_elements(audience) WITH ORDINALITY AS audience (groups)
    ), wanted AS (  -- every name that occurs, once an event and place; the excluded stand at place 0
        SELECT event_id, place, size, name FROM term CROSS JOIN LATERAL jsonb_array_elements_text(groups) AS name
        UNION ALL
        SELECT id, 0, 1, name FROM event CROSS JOIN LATERAL jsonb_array_elements_text(exclude) AS name
    ), member AS (
        SELECT event_id, place, size, user_id
        FROM wanted JOIN memberships ON group_name = wanted.name
        UNION ALL
        SELECT event_id, place, size, users.id
        FROM wanted JOIN users ON external_id = substr(wanted.name, 6) WHERE starts_with(wanted.name, 'user_')
        UNION ALL
        SELECT event_id, place, size, users.id
        FROM wanted CROSS JOIN users WHERE wanted.name = 'everyone'
    ), matched AS (  -- whoever is in all groups of a term; place 0 needs one
        SELECT event_id, place, user_id FROM member
        GROUP BY event_id, place, user_id, size HAVING place = 0 OR count(*) = size
    ), reached AS (  -- through the first term that matches; 0 means excluded
        SELECT event_id, user_id, min(place) AS place FROM matched GROUP BY event_id, user_id
    ), recipient AS (
        SELECT event.id AS event_id, term.kind, users.id AS user_id,
               CASE WHEN texts ? locale THEN locale
                    WHEN texts ? split_part(locale, '-', 1) THEN split_part(locale, '-', 1)
                    WHEN texts ? :default_locale THEN :default_locale
                    ELSE (SELECT min(known COLLATE "C") FROM jsonb_object_keys(texts) AS known)
               END AS locale
        FROM reached
        JOIN event ON event.id = reached.event_id
        JOIN term ON term.event_id = reached.event_id AND term.place = reached.place
        JOIN users ON users.id = reached.user_id AND users.is_active
    ), numbered AS (
        SELECT *, (row_number() OVER (PARTITION BY event_id, kind, locale ORDER BY user_id) - 1)
                  / :batch_size AS part
        FROM recipient
    ), batch AS (
        SELECT event_id, kind, locale, part, array_agg(user_id ORDER BY user_id) AS recipient_ids
        FROM numbered GROUP BY event_id, kind, locale, part
    )
    INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids)
    SELECT event_id, row_number() OVER (PARTITION BY event_id ORDER BY kind, locale, part) - 1,
           kind, locale, recipient_ids
    FROM batch
    RETURNING event_id, n, cardinality(recipient_ids)
""")

FINISH = text("""
    UPDATE notification_events SET
        status = CASE WHEN :stored THEN 'processed' ELSE 'planned' END,
        planned_at = clock_timestamp(),
        processed_at = CASE WHEN :stored THEN clock_timestamp() END,
        recipient_count = coalesce((SELECT sum(cardinality(recipient_ids)) FROM event_batches WHERE event_id = id), 0),
        error = NULL, retry_at = NULL
    WHERE id = ANY(:ids)
""")

CHANGE_LANE = text("UPDATE notification_events SET bulk = true WHERE id = ANY(:ids)")


def claim_events(session: Session, *, bulk: bool, limit: int, only: int | None = None) -> list[int]:
    """Lock the oldest pending events of a lane (or `only` one) that nobody else has locked."""
    oldest = first_event_id_at(datetime.now(UTC) - MAX_PLAN_AGE)
    return list(session.scalars(CLAIM, {"bulk": bulk, "limit": limit, "oldest": oldest, "only": only}))


def process_events(session: Session, settings: Settings, *, only: int | None = None) -> Turn:
    """Take what is pending (or `only` one), plan and store small events, send large ones to the bulk lane."""
    claimed = claim_events(session, bulk=False, limit=EVENTS_PER_TURN, only=only)
    if not claimed:
        return Turn([], [], [], took_all=True)
    small, large, left = _sort_by_size(session, claimed, settings.notification_batch_size)
    if large:
        session.execute(CHANGE_LANE, {"ids": large})
    batches = _plan(session, settings, small)
    stored = store_planned(session, batches)
    session.execute(FINISH, {"ids": small, "stored": True})
    plan_webhooks(session, settings, small)
    return Turn(small, large, stored, took_all=not left and len(claimed) < EVENTS_PER_TURN)


def plan_bulk_event(session: Session, settings: Settings) -> tuple[int, int] | None:
    """Plan the oldest event of the bulk lane: its id and its number of batches; None when none waits."""
    claimed = claim_events(session, bulk=True, limit=1)
    if not claimed:
        return None
    session.execute(text("SET LOCAL work_mem = '128MB'"))  # 1,000,000 people are aggregated in memory
    batches = _plan(session, settings, claimed)
    session.execute(FINISH, {"ids": claimed, "stored": not batches})
    if not batches:
        plan_webhooks(session, settings, claimed)
    return claimed[0], len(batches)


def _sort_by_size(session: Session, claimed: list[int], largest: int) -> tuple[list[int], list[int], list[int]]:
    """Small events as far as one transaction goes, large ones, and those left for the next turn."""
    small: list[int] = []
    large: list[int] = []
    people = 0
    for n, (event_id, size) in enumerate(session.execute(SIZES, {"ids": claimed, "bound": largest + 1})):
        if size > largest:
            large.append(event_id)
            continue
        people += size
        if small and people > PEOPLE_PER_TURN:
            return small, large, claimed[n:]
        small.append(event_id)
    return small, large, []


def _plan(session: Session, settings: Settings, event_ids: Sequence[int]) -> list[tuple[int, int]]:
    """Insert the batches of these events; their keys (event id, n)."""
    if not event_ids:
        return []
    values = {
        "ids": list(event_ids),
        "batch_size": settings.notification_batch_size,
        "default_locale": settings.default_locale,
    }
    return [(event_id, n) for event_id, n, _ in session.execute(PLAN, values)]


def record_failure(session: Session, event_id: int, error: Exception, max_attempts: int = 5) -> str:
    """Count a failed attempt: tried again after 2, 4, 8, 16 s, then failed. Returns the new status."""
    event = session.get_one(NotificationEvent, event_id, with_for_update=True)
    event.attempts += 1
    cause = str(getattr(error, "orig", error)).strip().splitlines()  # without the statement and its values
    event.error = f"{type(error).__name__}: {cause[0] if cause else ''}"[:500]
    event.retry_at = datetime.now(UTC) + timedelta(seconds=2**event.attempts)
    if event.attempts >= max_attempts:
        event.status = "failed"
    return event.status
