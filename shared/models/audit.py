"""Who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base


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
