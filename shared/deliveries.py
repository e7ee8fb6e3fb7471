"""What went, or shall go, by other channels: listed, shown, and tried again when somebody says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Select, select, text
from sqlalchemy.orm import Session

from shared.delivery_counts import counted
from shared.errors import Conflict, InvalidInput, NotFound
from shared.models import DELIVERY_STATUSES, Delivery, User
from shared.tasks import SEND_EMAILS, SEND_WEBHOOKS

DOORS = {"email": SEND_EMAILS, "webhook": SEND_WEBHOOKS}  # what is rung after a replay
CHANNELS = tuple(DOORS)
UNFINISHED = ("failed", "skipped", "pending")  # what may be replayed
MAX_ID = (1 << 63) - 1

# Locked in order; what had ended so has not ended any more.
REPLAY = text(f"""
    WITH found AS (
        SELECT id, status FROM deliveries WHERE id = ANY(CAST(:ids AS bigint[])) AND status IN {UNFINISHED} ORDER BY id FOR UPDATE
    ), replayed AS (
        UPDATE deliveries SET status = 'pending', reason = NULL, error = NULL, attempts = 0, next_attempt_at = now(), finished_at = NULL
        FROM found WHERE deliveries.id = found.id
        RETURNING deliveries.id, event_id, channel, found.status
    ), counted AS ({counted("replayed", "-")})
    SELECT id FROM replayed
""")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which deliveries; None means any. Raises: InvalidInput for a status or channel that nothing has."""

    status: str | None = None
    channel: str | None = None
    event_id: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (("status", self.status, DELIVERY_STATUSES), ("channel", self.channel, CHANNELS)):
            if value is not None and value not in known:
                raise InvalidInput.field(name, value, "one of " + ", ".join(known))


def list_deliveries(session: Session, filters: Filters, limit: int, older_than: int | None = None) -> list[Row[Any]]:
    """The newest deliveries that match, with the application's id of their recipient."""
    query = _shown().order_by(Delivery.id.desc()).limit(limit)
    if filters.status is not None:
        query = query.where(Delivery.status == filters.status)
    if filters.channel is not None:
        query = query.where(Delivery.channel == filters.channel)
    if filters.event_id is not None:
        query = query.where(Delivery.event_id == filters.event_id)
    if older_than is not None:
        query = query.where(Delivery.id < older_than)
    return list(session.execute(query))


def get_delivery(session: Session, delivery_id: int) -> Row[Any]:
    """One delivery. Raises: NotFound."""
    found = session.execute(_shown().where(Delivery.id == delivery_id)).one_or_none()
    if found is None:
        raise NotFound(f"id: there is no delivery {delivery_id}", field="id", value=delivery_id)
    return found


def replay(session: Session, delivery_id: int) -> str:
    """Have it sent again from the first try on, now; the door to ring after the commit.

    Raises: NotFound; Conflict when it was sent, or somebody is sending it.
    """
    found = get_delivery(session, delivery_id)
    if not _replay(session, [delivery_id]):
        status = session.scalar(select(Delivery.status).where(Delivery.id == delivery_id))
        raise Conflict(
            f"id: delivery {delivery_id} is {status}: only {', '.join(UNFINISHED)} ones can be replayed",
            field="id",
            status=status,
        )
    return DOORS[found.channel]


def replay_failed(session: Session, channel: str | None, event_id: int | None, limit: int) -> list[int]:
    """Have the oldest failed deliveries sent again; their ids."""
    filters = Filters("failed", channel, event_id)
    query = (
        select(Delivery.id)
        .where(Delivery.status == "failed")
        .order_by(Delivery.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if filters.channel is not None:
        query = query.where(Delivery.channel == filters.channel)
    if filters.event_id is not None:
        query = query.where(Delivery.event_id == filters.event_id)
    return _replay(session, list(session.scalars(query)))


def as_json(row: Row[Any]) -> dict[str, Any]:
    """A delivery as the API and the command line show it."""
    return {
        "id": row.id,
        "event_id": row.event_id,
        "recipient": row.recipient,
        "channel": row.channel,
        "status": row.status,
        "reason": row.reason,
        "attempts": row.attempts,
        "error": row.error,
        "provider_id": row.provider_id,
        "created_at": _utc(row.created_at),
        "next_attempt_at": _utc(row.next_attempt_at) if row.status == "pending" else None,
        "finished_at": _utc(row.finished_at),
    }


def _shown() -> Select[Any]:
    columns = [column for column in Delivery.__table__.columns if column.name not in ("recipient_id", "claimed_at")]
    return select(*columns, User.external_id.label("recipient")).outerjoin(User, User.id == Delivery.recipient_id)


def _replay(session: Session, delivery_ids: Sequence[int]) -> list[int]:
    return list(session.scalars(REPLAY, {"ids": list(delivery_ids)}))


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
