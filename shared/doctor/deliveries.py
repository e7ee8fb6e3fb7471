"""Mail and webhook: a channel that rests after failures, deliveries that wait for long, and those that failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.doctor import Finding, fine, looking, note, wrong
from shared.settings import Settings

LONG_SECONDS = 600  # by then four or five tries have failed, or nobody tries
FAILED_WITHIN = timedelta(days=7)
FRESH = timedelta(days=1)  # what failed longer ago is worth knowing, and no alarm any more
MOST = 10_000  # rows are counted up to here

# A channel that failed and has had nothing to do for a day says nothing about today.
RESTING = text("""
    SELECT channel, failures, paused_until, error FROM delivery_channels
    WHERE failures > 0 AND paused_until > now() - interval '1 day' ORDER BY channel
""")
# Both of partial indexes: `deliveries_due` and `deliveries_failed`. What was replayed waits since then.
WAITING = text("""
    SELECT channel, count(*) AS deliveries, extract(epoch FROM now() - min(since))::float AS seconds
    FROM (SELECT channel, CASE attempts WHEN 0 THEN next_attempt_at ELSE created_at END AS since FROM deliveries
          WHERE status IN ('pending', 'sending') ORDER BY channel, next_attempt_at LIMIT :most) AS waiting
    GROUP BY channel ORDER BY channel
""")
FAILED = text("""
    SELECT channel, reason, count(*) AS deliveries, max(finished_at) AS last
    FROM (SELECT channel, reason, finished_at FROM deliveries WHERE status = 'failed' ORDER BY id DESC LIMIT :most) AS failed
    WHERE finished_at >= :since GROUP BY channel, reason ORDER BY channel, reason
""")


def check_deliveries(settings: Settings) -> Iterator[Finding]:
    """What goes, or does not go, by mail and webhook."""
    return looking(settings, _look)


def _look(session: Session) -> Iterator[Finding]:
    found = [*_resting(session), *_waiting(session), *_failed(session)]
    yield from found or [fine("deliveries", "no channel rests, nothing waits for long, none failed within a week")]


def _resting(session: Session) -> Iterator[Finding]:
    for row in session.execute(RESTING):
        until = row.paused_until.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        yield wrong(
            "deliveries",
            f"{row.channel} rests after {row.failures} failures in a row, until {until}: {row.error}",
            "Mend what it says; it tries again by itself after the rest.",
            channel=row.channel,
            failures=row.failures,
            paused_until=until,
            error=row.error,
        )


def _waiting(session: Session) -> Iterator[Finding]:
    for row in session.execute(WAITING, {"most": MOST}):
        if row.seconds > LONG_SECONDS:
            yield wrong(
                "deliveries",
                f"{_count(row.deliveries)} wait for {row.channel}, the oldest for {timedelta(seconds=int(row.seconds))}",
                f"Does `deliveries` run, with {'SMTP_URL' if row.channel == 'email' else 'WEBHOOK_URL'} set?"
                " `stagebloom deliveries list --status pending` shows what the last try said.",
                channel=row.channel,
                count=row.deliveries,
                oldest_age_seconds=round(row.seconds, 1),
            )


def _failed(session: Session) -> Iterator[Finding]:
    now = datetime.now(UTC)
    rows = session.execute(FAILED, {"most": MOST, "since": now - FAILED_WITHIN}).all()
    if not rows:
        return
    say = wrong if max(row.last for row in rows) > now - FRESH else note
    yield say(
        "deliveries",
        "failed within a week: " + ", ".join(f"{_count(row.deliveries)} {row.channel} ({row.reason})" for row in rows),
        "`stagebloom deliveries list --status failed` tells why; mend it, then `stagebloom deliveries replay --failed`.",
        failed=[{"channel": row.channel, "reason": row.reason, "count": row.deliveries} for row in rows],
    )


def _count(number: int) -> str:
    return f"{number:,}" if number < MOST else f"over {MOST:,}"
