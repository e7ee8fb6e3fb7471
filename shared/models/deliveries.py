"""What goes to people and systems by other channels than the socket."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base

DELIVERY_STATUSES = ("pending", "sending", "sent", "failed", "skipped")
ENDED_DELIVERIES = ("sent", "failed", "skipped")


class Delivery(Base):
    """What goes to someone by another channel than the socket, and what became of it.

    Without a recipient it goes to a system, not to a person: the webhook. Counted and retried here,
    so that a message of the broker may be lost.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("notification_events.id", ondelete="CASCADE"))
    recipient_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    channel: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    reason: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    next_attempt_at: Mapped[datetime] = mapped_column(server_default=func.now())
    claimed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    provider_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("event_id", "recipient_id", "channel", postgresql_nulls_not_distinct=True),
        CheckConstraint(f"status IN {DELIVERY_STATUSES}", name="delivery_status_known"),
        Index(
            "deliveries_due", "channel", "next_attempt_at", postgresql_where=text("status IN ('pending', 'sending')")
        ),
        Index("deliveries_in_order", "channel", "event_id", postgresql_where=text("status IN ('pending', 'sending')")),
        Index("deliveries_failed", "id", postgresql_where=text("status = 'failed'")),
        Index("deliveries_recipient_id", "recipient_id", postgresql_where=text("recipient_id IS NOT NULL")),
    )


class DeliveryPlan(Base):
    """A stored batch whose people are looked at for a channel at `due_at`; gone once that is done."""

    __tablename__ = "delivery_plans"

    event_id: Mapped[int] = mapped_column(BigInteger)
    n: Mapped[int] = mapped_column(Integer)
    channel: Mapped[str]
    due_at: Mapped[datetime]

    __table_args__ = (
        PrimaryKeyConstraint("event_id", "n", "channel"),
        ForeignKeyConstraint(["event_id", "n"], ["event_batches.event_id", "event_batches.n"], ondelete="CASCADE"),
        Index("delivery_plans_due_at", "due_at"),
    )


class DailyDelivery(Base):
    """How many deliveries of the events of a day (UTC) ended so, by this channel."""

    __tablename__ = "daily_deliveries"

    day: Mapped[date]
    channel: Mapped[str]
    status: Mapped[str]
    deliveries: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("day", "channel", "status"),
        CheckConstraint(f"status IN {ENDED_DELIVERIES}", name="delivery_ended"),
    )


class DeliveryChannel(Base):
    """The circuit breaker of a channel: after failures of its provider in a row it rests until `paused_until`."""

    __tablename__ = "delivery_channels"

    channel: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    paused_until: Mapped[datetime | None]
    error: Mapped[str | None]
