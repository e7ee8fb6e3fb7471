"""How deliveries ended, by channel and day of their event: counted by the statement that ends them.

`counted` is a part of such a statement, so a count is right whatever is killed. One that is replayed has
not ended any more and is taken back. Like all counts these stay when the delivery goes.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.models import ENDED_DELIVERIES

# Few write at once: two senders of mail, one of webhooks, and whoever plans or replays.
COUNT = """
    INSERT INTO daily_deliveries AS held (day, channel, status, deliveries)
    SELECT (event.created_at AT TIME ZONE 'UTC')::date, channel, ended.status, {sign} count(*)
    FROM {ended} AS ended JOIN notification_events event ON event.id = event_id
    WHERE ended.status IN {statuses}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (day, channel, status) DO UPDATE SET deliveries = held.deliveries + excluded.deliveries
"""
BY_CHANNEL = text("""
    SELECT channel, status, sum(deliveries)::bigint FROM daily_deliveries WHERE day >= :since GROUP BY channel, status
""")
PENDING = text("""
    SELECT channel, (SELECT count(*) FROM (SELECT FROM deliveries WHERE deliveries.channel = delivery_channels.channel
                                           AND status IN ('pending', 'sending') LIMIT :most) AS found)
    FROM delivery_channels ORDER BY channel
""")


def counted(ended: str, sign: str = "+") -> str:
    """An INSERT that counts the rows of `ended`, a CTE with event_id, channel and status; "-" takes them back."""
    return COUNT.format(ended=ended, sign=sign, statuses=ENDED_DELIVERIES)


def delivery_counts(session: Session, since: date, most: int) -> dict[str, dict[str, Any]]:
    """Of each channel: sent, failed and skipped of events since a day, and what is to be sent now, up to `most`."""
    found: dict[str, dict[str, Any]] = {
        channel: {**dict.fromkeys(ENDED_DELIVERIES, 0), "pending": pending}
        for channel, pending in session.execute(PENDING, {"most": most})
    }
    for channel, status, deliveries in session.execute(BY_CHANNEL, {"since": since}):
        found[channel][status] = deliveries
    return found
