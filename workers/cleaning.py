"""Rows that have had their day, deleted a thousand at a time so that nothing long is ever locked.

What goes, and when, stands in RULES: whoever adds a table that grows adds a line.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import first_event_id_at
from shared.partitions import list_partitions
from shared.settings import Settings

ROWS_PER_STATEMENT = 1000
# Browsers come back with cursors of up to 24 hours and need the plan for what they missed.
BATCHES_KEPT = timedelta(hours=25)
RECORDS_KEPT = timedelta(days=365)  # who did what, and how long it took: for the questions of a year
OLD_DAY = "day < (CAST(:records_from AS timestamptz) AT TIME ZONE 'UTC')::date"


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of `table` for which `condition` holds are deleted, in the order of `order`.

    A condition may name `:retained_id` (older event ids have no notification left), `:retained_from`
    (the same as a time), `:batches_id` and `:batches_from` (a day ago), `:records_from` (a year ago). An index
    must lead to its rows.
    """

    table: str
    condition: str
    order: str


RULES = (
    # Events come after what refers to them. The id leads to the oldest, without an index of its own.
    Rule("event_batches", "event_id < :batches_id AND published_at < :batches_from", "event_id, n"),
    Rule("notification_events", "id < :retained_id AND status IN ('processed', 'failed')", "id"),
    Rule("audit_log", "at < :records_from", "at, id"),
    Rule("hourly_times", "hour < :records_from", "hour"),
    Rule("daily_counts", OLD_DAY, "day"),
    Rule("daily_deliveries", OLD_DAY, "day"),
)


def find_limits(session: Session, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """The values that conditions compare with."""
    now = now or datetime.now(UTC)
    kept = [partition.first_id for partition in list_partitions(session)]
    retained_from = now - timedelta(days=settings.notification_retention_days)
    return {
        "retained_from": retained_from,
        "retained_id": min([first_event_id_at(retained_from), *kept]),
        "records_from": now - RECORDS_KEPT,
        "batches_from": now - BATCHES_KEPT,
        "batches_id": first_event_id_at(now - BATCHES_KEPT),
    }


def delete_some(session: Session, rule: Rule, limits: dict[str, Any], rows: int = ROWS_PER_STATEMENT) -> int:
    """Delete up to so many rows that nobody has locked; how many they were."""
    statement = text(
        f"DELETE FROM {rule.table} WHERE ctid = ANY(ARRAY("
        f"SELECT ctid FROM {rule.table} WHERE {rule.condition} ORDER BY {rule.order} LIMIT :rows FOR UPDATE SKIP LOCKED))"
    )
    used = {name: value for name, value in limits.items() if f":{name}" in rule.condition}
    return session.execute(statement, {**used, "rows": rows}).rowcount  # type: ignore[attr-defined]


def delete_all(transaction: Callable[[], AbstractContextManager[Session]], rule: Rule, limits: dict[str, Any]) -> int:
    """Delete everything that the rule names, each piece in a transaction of its own; how many rows."""
    total = 0
    while True:
        with transaction() as session:
            deleted = delete_some(session, rule, limits)
        total += deleted
        if deleted < ROWS_PER_STATEMENT:
            return total
