"""What stands still, what failed, and what is sent again and again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.doctor import Finding, fine, looking, note, wrong
from shared.ids import first_event_id_at
from shared.settings import Settings

STUCK_SECONDS = 60  # the sweep comes every 5: what waits for twelve of them has nobody
FAILED_WITHIN = timedelta(days=7)
LOOP_WITHIN = timedelta(minutes=10)
LOOP_PER_MINUTE = 10  # the same words from the same source to the same people: a machine talking to itself

# Each from an index that holds nothing but what is unfinished.
UNPROCESSED = text("""
    SELECT count(*), extract(epoch FROM now() - min(created_at)), min(id),
           count(*) FILTER (WHERE retry_at > now())
    FROM (SELECT created_at, id, retry_at FROM notification_events WHERE status = 'pending'
          UNION ALL SELECT created_at, id, NULL FROM notification_events WHERE status = 'planned') AS waiting
""")
BATCHES = text("""
    SELECT (SELECT count(*) FROM event_batches WHERE stored_at IS NULL),
           (SELECT extract(epoch FROM now() - min(planned_at)) FROM event_batches JOIN notification_events ON id = event_id WHERE stored_at IS NULL),
           (SELECT count(*) FROM event_batches WHERE stored_at IS NOT NULL AND published_at IS NULL),
           (SELECT extract(epoch FROM now() - min(stored_at)) FROM event_batches WHERE stored_at IS NOT NULL AND published_at IS NULL)
""")
FAILED = text(
    "SELECT id, error FROM notification_events WHERE status = 'failed' AND id >= :since ORDER BY id DESC LIMIT 1001"
)
REPEATED = text("""
    SELECT source, thread_key, texts->(SELECT min(locale) FROM jsonb_object_keys(texts) AS locale)->>'title' AS title,
           count(*) AS events, max(id) AS last_id
    FROM notification_events WHERE id >= :since
    GROUP BY source, thread_key, title, audience::text, date_trunc('minute', created_at) HAVING count(*) > :most
    ORDER BY events DESC LIMIT 20
""")


def check_events(settings: Settings) -> Iterator[Finding]:
    """Events and batches on their way."""
    return looking(settings, _look)


def _look(session: Session) -> Iterator[Finding]:
    count, age, oldest, retried = session.execute(UNPROCESSED).one()
    details = {
        "count": count,
        "oldest_age_seconds": round(float(age), 1) if count else None,
        "oldest_event_id": oldest,
        "to_be_retried": retried,
    }
    if count and age > STUCK_SECONDS and retried < count:
        yield wrong(
            "events",
            f"{count} unprocessed, the oldest for {_age(age)} (event {oldest})",
            f"Are `worker` and `bulk` running? `stagebloom events show {oldest}` tells where it stands.",
            **details,
        )
    else:
        yield fine("events", f"{count} unprocessed" + (f", the oldest for {_age(age)}" if count else ""), **details)

    unstored, unstored_age, unpublished, unpublished_age = session.execute(BATCHES).one()
    details = {"unstored": unstored, "unpublished": unpublished}
    if unstored and (unstored_age or 0) > STUCK_SECONDS:
        yield wrong(
            "batches",
            f"{unstored} planned and not stored for {_age(unstored_age)}",
            "Is `bulk` running? Its log says what refuses to be stored.",
            **details,
        )
    elif unpublished and unpublished_age > STUCK_SECONDS:
        yield wrong(
            "batches",
            f"{unpublished} stored and not announced for {_age(unpublished_age)}",
            "Is Redis reachable for the workers? Browsers get them from the gateways' own reading meanwhile.",
            **details,
        )
    else:
        yield fine("batches", f"{unstored} to be stored, {unpublished} to be announced", **details)

    failed = session.execute(FAILED, {"since": first_event_id_at(datetime.now(UTC) - FAILED_WITHIN)}).all()
    if failed:
        last = failed[0]
        count = "over 1,000" if len(failed) > 1000 else str(len(failed))
        yield wrong(
            "failed",
            f"{count} events failed within a week, the last is {last.id}: {last.error}",
            f"`stagebloom events show {last.id}` tells what it was; mend the cause and send it again.",
            count=len(failed),
            event_ids=[row.id for row in failed[:20]],
        )
    else:
        yield fine("failed", "no event failed within a week", count=0)


def check_duplicates(settings: Settings) -> Iterator[Finding]:
    """The same thread or title from the same source, over and over: a loop, or an idempotency key forgotten."""
    return looking(settings, _look_for_loops)


def _look_for_loops(session: Session) -> Iterator[Finding]:
    found = session.execute(
        REPEATED, {"since": first_event_id_at(datetime.now(UTC) - LOOP_WITHIN), "most": LOOP_PER_MINUTE}
    ).all()
    for row in found:
        what = f"thread {row.thread_key!r}" if row.thread_key else f"the title of event {row.last_id}"
        yield note(
            "duplicates",
            f"{row.events} events in one minute from source {row.source!r} with {what}",
            "Is the sender in a loop? An idempotency_key makes repeated calls one event.",
            source=row.source,
            thread_key=row.thread_key,
            events=row.events,
            last_event_id=row.last_id,
        )
    if not found:
        yield fine("duplicates", f"nobody said the same more than {LOOP_PER_MINUTE} times a minute")


def _age(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))
