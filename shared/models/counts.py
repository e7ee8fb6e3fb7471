"""What statistics are read from: what was confirmed, the changes that wait to be counted, and the counts."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base, Xid8

COUNTED_CHANGES = ("delivered", "seen", "read", "deleted")


class BatchReceipt(Base):
    """Who of a batch has confirmed it over a socket: a bit per person, in the order of the batch."""

    __tablename__ = "batch_receipts"

    event_id: Mapped[int] = mapped_column(BigInteger)
    n: Mapped[int] = mapped_column(Integer)
    delivered: Mapped[bytes] = mapped_column(server_default="")

    __table_args__ = (
        PrimaryKeyConstraint("event_id", "n"),
        ForeignKeyConstraint(["event_id", "n"], ["event_batches.event_id", "event_batches.n"], ondelete="CASCADE"),
    )


class CountChange(Base):
    """What happened to which notifications; appended with the change, soon folded into the counts."""

    __tablename__ = "count_changes"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    what: Mapped[str]
    event_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    user_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))

    __table_args__ = (CheckConstraint(f"what IN {COUNTED_CHANGES}", name="what_known"),)


class SocketTime(Base):
    """When a gateway handed a batch to how many people; soon folded into `hourly_times`."""

    __tablename__ = "socket_times"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    event_id: Mapped[int] = mapped_column(BigInteger)
    people: Mapped[int] = mapped_column(Integer)
    handed_at: Mapped[datetime]


class EventCount(Base):
    """What became of an event, in people. `roles`: those that it reached."""

    __tablename__ = "event_counts"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("notification_events.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    stored: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    delivered: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    seen: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    deleted: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))


class DailyCount(Base):
    """What became of the events of a day (UTC), by role and type.

    Role '' is everyone, since people have several roles or none; only there categories are told apart.
    """

    __tablename__ = "daily_counts"

    day: Mapped[date]
    role: Mapped[str]
    notification_type: Mapped[str]
    category: Mapped[str]
    sent: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    stored: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    delivered: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    seen: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    read: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    deleted: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (PrimaryKeyConstraint("day", "role", "notification_type", "category"),)


class HourlyTime(Base):
    """How long notifications took from their event to being stored, and to a socket: a histogram an hour."""

    __tablename__ = "hourly_times"

    hour: Mapped[datetime]
    step: Mapped[str]
    bucket: Mapped[int] = mapped_column(SmallInteger)
    people: Mapped[int] = mapped_column(BigInteger)

    __table_args__ = (
        PrimaryKeyConstraint("hour", "step", "bucket"),
        CheckConstraint("step IN ('store', 'socket')", name="step_known"),
    )


class Counting(Base):
    """One row: batches stored by transactions up to `stored_xid` are in the counts."""

    __tablename__ = "counting"

    is_only: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    stored_xid: Mapped[int] = mapped_column(Xid8)
    counted_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (CheckConstraint("is_only", name="one_row"),)
