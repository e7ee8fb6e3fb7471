"""What happened, for whom, in which words: the event, its frozen plan, and the templates of its texts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    FetchedValue,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base, Xid8

NOTIFICATION_TYPES = ("info", "success", "warning", "error")
PRIORITIES = ("low", "normal", "high", "critical")
FORMATS = ("plain", "rich")
TRIAL = "selftest-"  # how the source of what `stagebloom selftest` sends begins: it is in no count
EVENT_STATUSES = ("pending", "planned", "processed", "failed")


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
        # For a person's statistics: kinds and days of their events without reading the events.
        Index("notification_events_kind", "id", postgresql_include=["notification_type", "category", "created_at"]),
        Index("notification_events_source_user", "source_user_id", postgresql_where=text("source_user_id IS NOT NULL")),
        Index("notification_events_template_faults", "id", postgresql_where=text("template_faults IS NOT NULL")),
    )

    @hybrid_property
    def processed(self) -> bool:
        """Whether everyone in the plan has their notification."""
        return self.status == "processed"


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
