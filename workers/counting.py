"""Beside the way: what happened is folded into counts, so that statistics read rows instead of counting.

What was stored is found by the transaction that stored it: everything below the oldest transaction
still running and above the last one counted. Nothing is added to storing, and a killed worker can
neither lose nor double a count. Everything else (delivered, seen, read, deleted) is appended as a change
by the transaction that did it, and deleted here by the transaction that counts it.

Guarantees: each count holds what was committed some seconds ago, once. One folds at a time: no row of the
counts is ever waited for. Days and hours are UTC; a day's counts are of the events of that day.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.importing.store import SOURCE as IMPORTED
from shared.models import TRIAL

BATCHES_AT_ONCE = 50  # of 1,000 people: some 150 ms
CHANGES_AT_ONCE = 2000

ONE_AT_A_TIME = text("SELECT pg_try_advisory_xact_lock(hashtext('counting'))")
LAST_COUNTED = text("SELECT stored_xid::text FROM counting")

# A bucket is a quarter of a doubling of milliseconds: a percentile is exact to 19 %.
BUCKET = "least(120, greatest(0, ceil(4 * log(2, greatest(1, 1000 * extract(epoch FROM {seconds}))))))::smallint"
DAY = "(event.created_at AT TIME ZONE 'UTC')::date"
CATEGORY = "CASE role WHEN '' THEN category ELSE '' END"  # of everyone only: a tenth of the rows

# All parts of a statement see the counts as they were before it: `known` holds the roles reached earlier.
FOLD_STORED = text(f"""
    WITH batch AS MATERIALIZED (
        SELECT event_id, recipient_ids, cardinality(recipient_ids) AS people, stored_at, stored_xid FROM event_batches
        WHERE stored_xid > CAST(:last AS xid8) AND stored_xid < pg_snapshot_xmin(pg_current_snapshot())
          AND NOT EXISTS (SELECT FROM notification_events WHERE id = event_id AND starts_with(source, '{TRIAL}'))
        ORDER BY stored_xid FETCH FIRST :limit ROWS WITH TIES
    ), person AS (
        SELECT event_id, unnest(recipient_ids) AS user_id FROM batch
    ), reached AS MATERIALIZED (
        SELECT event_id, '' AS role, sum(people) AS people FROM batch GROUP BY event_id
        UNION ALL
        SELECT event_id, substr(group_name, 6), count(*)
        FROM person JOIN memberships USING (user_id) WHERE starts_with(group_name, 'role_')
        GROUP BY event_id, group_name
    ), per_event AS (
        INSERT INTO event_counts AS held (event_id, roles, stored)
        SELECT event_id, array_agg(role), max(people) FILTER (WHERE role = '') FROM reached GROUP BY event_id
        ON CONFLICT (event_id) DO UPDATE SET
            roles = ARRAY(SELECT DISTINCT unnest(held.roles || excluded.roles)),
            stored = held.stored + excluded.stored
    ), per_day AS (
        INSERT INTO daily_counts AS held (day, role, notification_type, category, sent, stored)
        SELECT {DAY}, role, notification_type, {CATEGORY},
               count(*) FILTER (WHERE role <> ALL (coalesce(known.roles, '{{}}'))), sum(people)
        FROM reached JOIN notification_events event ON event.id = event_id
        LEFT JOIN event_counts known USING (event_id)
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (day, role, notification_type, category) DO UPDATE SET
            sent = held.sent + excluded.sent, stored = held.stored + excluded.stored
    ), per_hour AS (
        INSERT INTO hourly_times AS held (hour, step, bucket, people)
        SELECT date_trunc('hour', stored_at, 'UTC'), 'store', {BUCKET.format(seconds="stored_at - event.created_at")}, sum(people)
        FROM batch JOIN notification_events event ON event.id = event_id
        GROUP BY 1, 2, 3
        ON CONFLICT (hour, step, bucket) DO UPDATE SET people = held.people + excluded.people
    ), counted AS (
        UPDATE counting SET
            stored_xid = coalesce((SELECT stored_xid FROM batch ORDER BY stored_xid DESC LIMIT 1), stored_xid),
            counted_at = clock_timestamp()
    )
    SELECT count(*) FROM batch
""")

# The event must still be there: counts of one that was cleaned away have nowhere to go. One that was imported
# was never counted as stored: statistics begin with what was sent here. A trial's are in no count at all.
FOLD_CHANGES = text(f"""
    WITH change AS MATERIALIZED (
        DELETE FROM count_changes WHERE id IN (SELECT id FROM count_changes ORDER BY id LIMIT :limit)
        RETURNING what, event_ids, user_ids
    ), pair AS MATERIALIZED (
        SELECT what, event_id, user_id FROM change CROSS JOIN unnest(event_ids, user_ids) AS pair (event_id, user_id)
        WHERE EXISTS (SELECT FROM notification_events
                      WHERE id = event_id AND source <> '{IMPORTED}' AND NOT starts_with(source, '{TRIAL}'))
    ), reached AS MATERIALIZED (
        SELECT event_id, '' AS role, what, count(*) AS people FROM pair GROUP BY event_id, what
        UNION ALL
        SELECT event_id, substr(group_name, 6), what, count(*)
        FROM pair JOIN memberships USING (user_id) WHERE starts_with(group_name, 'role_')
        GROUP BY event_id, group_name, what
    ), per_event AS (
        INSERT INTO event_counts AS held (event_id, delivered, seen, read, deleted)
        SELECT event_id,
               coalesce(sum(people) FILTER (WHERE what = 'delivered'), 0), coalesce(sum(people) FILTER (WHERE what = 'seen'), 0),
               coalesce(sum(people) FILTER (WHERE what = 'read'), 0), coalesce(sum(people) FILTER (WHERE what = 'deleted'), 0)
        FROM reached WHERE role = '' GROUP BY event_id
        ON CONFLICT (event_id) DO UPDATE SET
            delivered = held.delivered + excluded.delivered, seen = held.seen + excluded.seen,
            read = held.read + excluded.read, deleted = held.deleted + excluded.deleted
    ), per_day AS (
        INSERT INTO daily_counts AS held (day, role, notification_type, category, delivered, seen, read, deleted)
        SELECT {DAY}, role, notification_type, {CATEGORY},
               coalesce(sum(people) FILTER (WHERE what = 'delivered'), 0), coalesce(sum(people) FILTER (WHERE what = 'seen'), 0),
               coalesce(sum(people) FILTER (WHERE what = 'read'), 0), coalesce(sum(people) FILTER (WHERE what = 'deleted'), 0)
        FROM reached JOIN notification_events event ON event.id = event_id
        GROUP BY 1, 2, 3, 4
        ON CONFLICT (day, role, notification_type, category) DO UPDATE SET
            delivered = held.delivered + excluded.delivered, seen = held.seen + excluded.seen,
            read = held.read + excluded.read, deleted = held.deleted + excluded.deleted
    )
    SELECT count(*) FROM change
""")

FOLD_TIMES = text(f"""
    WITH handed AS MATERIALIZED (
        DELETE FROM socket_times WHERE id IN (SELECT id FROM socket_times ORDER BY id LIMIT :limit)
        RETURNING event_id, people, handed_at
    ), per_hour AS (
        INSERT INTO hourly_times AS held (hour, step, bucket, people)
        SELECT date_trunc('hour', handed_at, 'UTC'), 'socket', {BUCKET.format(seconds="handed_at - event.created_at")}, sum(people)
        FROM handed JOIN notification_events event ON event.id = event_id AND NOT starts_with(source, '{TRIAL}')
        GROUP BY 1, 2, 3
        ON CONFLICT (hour, step, bucket) DO UPDATE SET people = held.people + excluded.people
    )
    SELECT count(*) FROM handed
""")


def fold_counts(session: Session) -> bool:
    """Fold what waits, up to the limits; whether all of it was taken. Folds nothing while another does."""
    if not session.scalar(ONE_AT_A_TIME):
        return True
    last = session.scalar(LAST_COUNTED)
    batches = session.execute(FOLD_STORED, {"last": last, "limit": BATCHES_AT_ONCE}).scalar_one()
    changes = session.execute(FOLD_CHANGES, {"limit": CHANGES_AT_ONCE}).scalar_one()
    times = session.execute(FOLD_TIMES, {"limit": CHANGES_AT_ONCE}).scalar_one()
    return batches < BATCHES_AT_ONCE and changes < CHANGES_AT_ONCE and times < CHANGES_AT_ONCE
