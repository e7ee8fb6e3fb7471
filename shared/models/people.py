"""Who can be addressed, and who may act: people, groups, memberships, services."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from shared.models.base import Base, Xid8

ROLE = "role_"
USER = "user_"
EVERYONE = "everyone"


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


class Service(Base):
    """A program that may act over HTTP. Its key is shown once; only the hash is kept."""

    __tablename__ = "services"

    name: Mapped[str] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(unique=True)
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_used_at: Mapped[datetime | None]
