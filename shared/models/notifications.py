"""The hot path: one narrow row per person and event."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, PrimaryKeyConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base, Xid8


class Notification(Base):
    """(recipient, event): two keys and a few times. Partitioned by week of `event_id`.

    No foreign keys on this hot path: the plan guarantees them.
    """

    __tablename__ = "notifications"

    recipient_id: Mapped[int] = mapped_column(BigInteger)
    event_id: Mapped[int] = mapped_column(BigInteger)
    stored_xid: Mapped[int] = mapped_column(Xid8)
    delivered_at: Mapped[datetime | None]
    seen_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("recipient_id", "event_id"),
        Index(
            "notifications_unread",
            "recipient_id",
            "event_id",
            postgresql_where=text("read_at IS NULL AND deleted_at IS NULL"),
        ),
        {"postgresql_partition_by": "RANGE (event_id)"},
    )
