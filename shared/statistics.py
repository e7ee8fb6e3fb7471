"""What the kept counts say about the whole system, and who is connected: for the API and the command line.

Nothing here counts notifications. Counts are as old as `counted_at` says (about two seconds); days are
UTC and hold the events of that day, whenever they were read. A person with two roles is in both, so the
totals are kept as a role of their own (''). Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.delivery_counts import delivery_counts
from shared.models import COUNTED_CHANGES, GATEWAY_DEAD_AFTER_SECONDS

DEFAULT_DAYS, MAX_DAYS = 7, 366
TIMED_HOURS = 24
MOST_WAITING = 10_000  # waiting rows are counted up to here: 2 ms instead of 100 for a million
COUNTS = ("sent", "stored", *COUNTED_CHANGES)
PERCENTILES = (50, 95, 99)

SUMS = ", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in COUNTS)
# One statement, so that the parts are of one moment. `days=366` of 100 roles, 4 types and 10 categories: 30 ms.
DAILY = text(f"""
    SELECT 'role' AS part, role AS key, {SUMS} FROM daily_counts WHERE day >= :since AND role <> '' GROUP BY role
    UNION ALL
    SELECT CASE grouping(notification_type, category, day) WHEN 3 THEN 'type' WHEN 5 THEN 'category' WHEN 6 THEN 'day' ELSE 'total' END,
           coalesce(notification_type, category, day::text, ''), {SUMS}
    FROM daily_counts WHERE day >= :since AND role = ''
    GROUP BY GROUPING SETS ((), (notification_type), (category), (day))
    ORDER BY key
""")
COUNTED_AT = text("SELECT counted_at FROM counting")
TIMES = text("""
    SELECT step, bucket, sum(people)::bigint AS people FROM hourly_times
    WHERE hour >= :since GROUP BY step, bucket ORDER BY step, bucket
""")
# Every question is answered by a partial index that is nearly empty, and is bounded when it isn't.
WAITING = text("""
    SELECT (SELECT count(*) FROM (SELECT FROM notification_events WHERE status = 'pending' AND NOT bulk LIMIT :most) AS found) AS pending,
           (SELECT count(*) FROM (SELECT FROM notification_events WHERE status = 'pending' AND bulk LIMIT :most) AS found) AS pending_bulk,
           (SELECT count(*) FROM (SELECT FROM notification_events WHERE status = 'planned' LIMIT :most) AS found) AS planned,
           (SELECT count(*) FROM (SELECT FROM event_batches WHERE stored_at IS NULL LIMIT :most) AS found) AS unstored_batches,
           (SELECT count(*) FROM (SELECT FROM event_batches WHERE stored_at IS NOT NULL AND published_at IS NULL LIMIT :most) AS found)
               AS unpublished_batches,
           (SELECT count(*) FROM (SELECT FROM deliveries WHERE status IN ('pending', 'sending') LIMIT :most) AS found) AS pending_deliveries
""")
OLDEST = text("""
    SELECT extract(epoch FROM clock_timestamp() - created_at)::float FROM notification_events
    WHERE id = least((SELECT min(id) FROM notification_events WHERE status = 'pending' AND NOT bulk),
                     (SELECT min(id) FROM notification_events WHERE status = 'pending' AND bulk),
                     (SELECT min(id) FROM notification_events WHERE status = 'planned'))
""")
GATEWAYS = text("""
    SELECT name, started_at, connections, people, by_role FROM gateways
    WHERE heard_at > now() - make_interval(secs => :dead) ORDER BY id
""")
CONNECTIONS = text("""
    SELECT gateway_id, number, connected_at, external_id, users.name, gateways.name AS gateway
    FROM websocket_connections connection
    JOIN gateways ON gateways.id = gateway_id AND heard_at > now() - make_interval(secs => :dead)
    JOIN users ON users.id = user_id
    WHERE (connection.gateway_id, connection.number) > (:gateway_id, :number)
      AND (CAST(:user_id AS bigint) IS NULL OR user_id = :user_id)
    ORDER BY connection.gateway_id, connection.number LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of connections begins: behind this one."""

    gateway_id: int = 0
    number: int = 0


def system_counts(session: Session, days: int = DEFAULT_DAYS, today: date | None = None) -> dict[str, Any]:
    """Sent, stored, delivered, seen, read and deleted in the last `days` days: in all, by role, type, category and day.

    And how deliveries ended, by channel.
    """
    since = (today or datetime.now(UTC).date()) - timedelta(days=days - 1)
    parts: dict[str, dict[str, dict[str, int]]] = {part: {} for part in ("total", "role", "type", "category", "day")}
    for part, key, *counts in session.execute(DAILY, {"since": since}):
        parts[part][key] = dict(zip(COUNTS, counts, strict=True))
    total = parts.pop("total")[""]
    channels = delivery_counts(session, since, MOST_WAITING)
    return {
        "since": since.isoformat(),
        "counted_at": _iso(session.scalar(COUNTED_AT)),
        "total": total,
        "delivery_success_rate": rate(total["delivered"], total["stored"]),
        "read_rate": rate(total["read"], total["stored"]),
        **{f"by_{part}": found for part, found in parts.items()},
        "deliveries": {
            channel: {**held, "success_rate": rate(held["sent"], held["sent"] + held["failed"])}
            for channel, held in channels.items()
        },
    }


def rate(part: int, whole: int) -> float | None:
    """A share with four digits; None where there is nothing to share."""
    return round(part / whole, 4) if whole else None


def step_times(session: Session) -> dict[str, dict[str, float | int | None]]:
    """Milliseconds from event to store and to socket in the last 24 hours, by notification; exact to 19 %."""
    since = datetime.now(UTC) - timedelta(hours=TIMED_HOURS)
    buckets: dict[str, list[tuple[int, int]]] = {"store": [], "socket": []}
    for step, bucket, people in session.execute(TIMES, {"since": since}):
        buckets[step].append((bucket, people))
    return {
        step: {
            "notifications": sum(people for _, people in found),
            **{f"p{percent}_ms": _percentile(found, percent) for percent in PERCENTILES},
        }
        for step, found in buckets.items()
    }


def _percentile(buckets: Sequence[tuple[int, int]], percent: int) -> float | None:
    """The upper end of the bucket in which it lies."""
    wanted = sum(people for _, people in buckets) * percent / 100
    for bucket, people in buckets:
        wanted -= people
        if wanted <= 0:
            return float(round(2 ** (bucket / 4), 1))
    return None


def queue_state(session: Session) -> dict[str, Any]:
    """What waits in PostgreSQL, each counted up to MOST_WAITING, and the age of the oldest unprocessed event."""
    waiting = dict(session.execute(WAITING, {"most": MOST_WAITING}).mappings().one())
    oldest = session.scalar(OLDEST)
    return {**waiting, "oldest_unprocessed_seconds": None if oldest is None else round(oldest, 1)}


def connection_counts(session: Session) -> dict[str, Any]:
    """Open connections and people, in all, by role, and by gateway that lives: what each gateway has counted.

    Someone with tabs at two gateways is one of the people of both.
    """
    gateways = session.execute(GATEWAYS, {"dead": GATEWAY_DEAD_AFTER_SECONDS}).all()
    by_role: dict[str, dict[str, int]] = {}
    for gateway in gateways:
        for role, counts in gateway.by_role.items():
            held = by_role.setdefault(role, {"connections": 0, "people": 0})
            held["connections"] += counts["connections"]
            held["people"] += counts["people"]
    return {
        "total": sum(gateway.connections for gateway in gateways),
        "people": sum(gateway.people for gateway in gateways),
        "by_role": {role: by_role[role] for role in sorted(by_role)},
        "gateways": [
            {"name": row.name, "started_at": _iso(row.started_at), "connections": row.connections} for row in gateways
        ],
    }


def open_connections(
    session: Session, *, user_id: int | None, after: Place, limit: int
) -> list[tuple[Place, dict[str, Any]]]:
    """Connections of living gateways (of one person, or all), in order of their place."""
    values = {
        "dead": GATEWAY_DEAD_AFTER_SECONDS,
        "user_id": user_id,
        "limit": limit,
        "gateway_id": after.gateway_id,
        "number": after.number,
    }
    return [
        (
            Place(row.gateway_id, row.number),
            {
                "user": {"id": row.external_id, "name": row.name},
                "gateway": row.gateway,
                "connected_at": _iso(row.connected_at),
                "is_active": True,
            },
        )
        for row in session.execute(CONNECTIONS, values)
    ]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
