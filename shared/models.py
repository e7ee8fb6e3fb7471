"""The tables. PostgreSQL is the truth; everything else is a hint to look here.

A notification is (recipient, event): the text stands once, on the event. `users`, `groups` and
`memberships` say who can be addressed, `event_batches` is the frozen plan of each event.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    DateTime,
    FetchedValue,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import UserDefinedType

NOTIFICATION_TYPES = ("info", "success", "warning", "error")
PRIORITIES = ("low", "normal", "high", "critical")
FORMATS = ("plain", "rich")
EVENT_STATUSES = ("pending", "planned", "processed", "failed")
COUNTED_CHANGES = ("delivered", "seen", "read", "deleted")
GATEWAY_DEAD_AFTER_SECONDS = 30  # of silence; it is heard every 10 s
DELIVERY_STATUSES = ("pending", "sending", "sent", "failed", "skipped")

ROLE = "role_"
USER = "user_"
EVERYONE = "everyone"


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id: never wraps, compares in order of start."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "xid8"

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        return lambda value: None if value is None else int(value)


class Base(DeclarativeBase):
    """The metadata that the migrations are checked against."""

    type_annotation_map: ClassVar = {
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
    }


class Installation(Base):
    """One row: which installation this database is. Names its topic and its cursors."""

    __tablename__ = "installation"

    id: Mapped[str] = mapped_column(UUID(as_uuid=False), primary_key=True, server_default=text("gen_random_uuid()"))


class User(Base):
    """A person. `external_id` is the application's own id; `id` is ours and stays inside."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str | None]
    phone: Mapped[str | None]
    locale: Mapped[str | None]
    timezone: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    changed_xid: Mapped[int] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("users_changed_xid", "changed_xid"),)


class Group(Base):
    """A name that can be addressed. Known before it is used, so that a typing error is refused."""

    __tablename__ = "groups"

    name: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Membership(Base):
    """The only targeting table: `user_*` and `everyone` are resolved from `users`."""

    __tablename__ = "memberships"

    group_name: Mapped[str] = mapped_column(ForeignKey("groups.name", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)

    __table_args__ = (Index("memberships_user_id", "user_id"),)


class NotificationEvent(Base):
    """What happened, for whom, in which words: one row, whatever the size of the audience."""

    __tablename__ = "notification_events"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, server_default=FetchedValue())
    event_type: Mapped[str]
    category: Mapped[str]
    notification_type: Mapped[str]
    texts: Mapped[dict[str, Any]]
    search_text: Mapped[str]
    data: Mapped[dict[str, Any]]
    link: Mapped[str | None]
    image: Mapped[str | None]
    actions: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    thread_key: Mapped[str | None]
    format: Mapped[str] = mapped_column(server_default="plain")
    template_faults: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))
    priority: Mapped[str] = mapped_column(server_default="normal")
    audience: Mapped[list[Any]]
    exclude: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    source_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    source: Mapped[str] = mapped_column(server_default="")
    idempotency_key: Mapped[str | None]
    content_hash: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    bulk: Mapped[bool] = mapped_column(server_default=text("false"))
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default=text("0"))
    retry_at: Mapped[datetime | None]
    error: Mapped[str | None]
    recipient_count: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    planned_at: Mapped[datetime | None]
    processed_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("source", "idempotency_key"),
        CheckConstraint(f"notification_type IN {NOTIFICATION_TYPES}", name="notification_type_known"),
        CheckConstraint(f"priority IN {PRIORITIES}", name="priority_known"),
        CheckConstraint(f"status IN {EVENT_STATUSES}", name="status_known"),
        CheckConstraint(f"format IN {FORMATS}", name="format_known"),
        Index("notification_events_pending", "bulk", "id", postgresql_where=text("status = 'pending'")),
        Index("notification_events_planned", "id", postgresql_where=text("status = 'planned'")),
        Index("notification_events_failed", "id", postgresql_where=text("status = 'failed'")),
        Index("notification_events_source_user", "source_user_id", postgresql_where=text("source_user_id IS NOT NULL")),
        Index("notification_events_template_faults", "id", postgresql_where=text("template_faults IS NOT NULL")),
    )

    @hybrid_property
    def processed(self) -> bool:
        """Whether everyone in the plan has their notification."""
        return self.status == "processed"


class NotificationTemplate(Base):
    """The application's own words for a name and locale. A version never changes; one at most is active."""

    __tablename__ = "notification_templates"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str]
    locale: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    title: Mapped[str]
    message: Mapped[str]
    format: Mapped[str] = mapped_column(server_default="plain")
    variables: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    is_active: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("name", "locale", "version"),
        CheckConstraint(f"format IN {FORMATS}", name="template_format_known"),
        Index("notification_templates_active", "name", "locale", unique=True, postgresql_where=text("is_active")),
        Index("notification_templates_created_by", "created_by", postgresql_where=text("created_by IS NOT NULL")),
    )


class EventBatch(Base):
    """Some people of an event's frozen plan who get the same frame. Never changed once stored."""

    __tablename__ = "event_batches"

    event_id: Mapped[int] = mapped_column(ForeignKey("notification_events.id", ondelete="CASCADE"))
    n: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    locale: Mapped[str]
    recipient_ids: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))
    stored_xid: Mapped[int | None] = mapped_column(Xid8)
    stored_at: Mapped[datetime | None]
    published_at: Mapped[datetime | None]

    __table_args__ = (
        PrimaryKeyConstraint("event_id", "n"),
        Index("event_batches_unstored", "event_id", "n", postgresql_where=text("stored_at IS NULL")),
        Index(
            "event_batches_unpublished",
            "event_id",
            "n",
            postgresql_where=text("stored_at IS NOT NULL AND published_at IS NULL"),
        ),
        Index("event_batches_stored_xid", "stored_xid"),
    )


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


class Service(Base):
    """A program that may act over HTTP. Its key is shown once; only the hash is kept."""

    __tablename__ = "services"

    name: Mapped[str] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(unique=True)
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]


class AuditRecord(Base):
    """Who did what to what, from where. Never what it said. Written by `shared.audit` only."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    actor: Mapped[str]
    action: Mapped[str]
    target: Mapped[str] = mapped_column(server_default="")
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    address: Mapped[str | None]
    request_id: Mapped[str | None]

    __table_args__ = (
        Index("audit_log_at", "at", "id"),
        Index("audit_log_actor", "actor", "at", "id"),
        Index("audit_log_action", "action", "at", "id"),
    )


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


class DeliveryChannel(Base):
    """The circuit breaker of a channel: after failures of its provider in a row it rests until `paused_until`."""

    __tablename__ = "delivery_channels"

    channel: Mapped[str] = mapped_column(primary_key=True)
    failures: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    paused_until: Mapped[datetime | None]
    error: Mapped[str | None]


class Gateway(Base):
    """A gateway process. It says every 10 s that it lives; what is silent for 30 s counts as dead."""

    __tablename__ = "gateways"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heard_at: Mapped[datetime] = mapped_column(server_default=func.now())


class WebSocketConnection(Base):
    """Someone's open socket, and through which gateway. Written within a second, gone with its gateway."""

    __tablename__ = "websocket_connections"

    gateway_id: Mapped[int] = mapped_column(ForeignKey("gateways.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(BigInteger)
    user_id: Mapped[int] = mapped_column(BigInteger)
    connected_at: Mapped[datetime]

    gateway: Mapped[Gateway] = relationship()
    user: Mapped[User] = relationship(primaryjoin="foreign(WebSocketConnection.user_id) == User.id", viewonly=True)

    __table_args__ = (PrimaryKeyConstraint("gateway_id", "number"), Index("websocket_connections_user_id", "user_id"))

    @hybrid_property
    def is_active(self) -> bool:
        """Whether its gateway lives; a closed connection has no row."""
        return datetime.now(UTC) - self.gateway.heard_at < timedelta(seconds=GATEWAY_DEAD_AFTER_SECONDS)

    @is_active.inplace.expression
    @classmethod
    def _is_active(cls) -> ColumnElement[bool]:
        alive = func.now() - timedelta(seconds=GATEWAY_DEAD_AFTER_SECONDS)
        return cls.gateway_id.in_(select(Gateway.id).where(Gateway.heard_at > alive))


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
    """What became of the events of a day (UTC); role '' is everyone, since people have several roles or none."""

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
