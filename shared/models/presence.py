"""Who is connected through which gateway, as long as that gateway lives, and how many they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    func,
    select,
    text,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.models.base import Base
from shared.models.people import User

GATEWAY_DEAD_AFTER_SECONDS = 30  # of silence; it is heard every 10 s


class Gateway(Base):
    """A gateway process. It says every 10 s that it lives; what is silent for 30 s counts as dead.

    It counts its own sockets: `by_role` is {"rh": {"connections": 3, "people": 2}}.
    """

    __tablename__ = "gateways"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    heard_at: Mapped[datetime] = mapped_column(server_default=func.now())
    connections: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    people: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    by_role: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


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
