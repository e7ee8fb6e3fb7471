"""Services: programs that act over HTTP with a key of their own, because they can't import Python.

A key is 256 random bits, so one SHA-256 of it keeps the secret (a slow hash is for what people think
up). It is found by that hash, which says nothing about the key to whoever measures times. A service may
make events and look after people; it has no inbox and never sees anyone's.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.errors import Conflict, InvalidInput, NotFound, Unauthorized
from shared.models import Service

PREFIX = "sbk_"  # by which a key is told from a token, and found by scanners for leaked secrets
KEY = re.compile(PREFIX + "[A-Za-z0-9_-]{43}")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
PERMISSIONS = ("events", "people")
USED_EVERY = timedelta(minutes=1)  # `last_used_at` is written at most so often: a busy service's row stays quiet

TOUCH = text("""
    UPDATE services SET last_used_at = now()
    WHERE name = :name AND (last_used_at IS NULL OR last_used_at < now() - :every)
""")


@dataclass(frozen=True, slots=True)
class KnownService:
    """A service that has shown its key."""

    name: str
    permissions: tuple[str, ...]


def add_service(session: Session, name: str, permissions: Sequence[str] = PERMISSIONS) -> str:
    """Make a service known; its key, which is not kept and can't be shown again.

    Raises: InvalidInput, Conflict when the name is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput.field("name", name, "1 to 63 of a-z, 0-9, `.`, `_` and `-`, a letter or digit first")
    unknown = set(permissions) - set(PERMISSIONS)
    if unknown or not permissions:
        raise InvalidInput.field("permissions", ", ".join(sorted(unknown)), "some of " + ", ".join(PERMISSIONS))
    key = _make_key()
    values = {"name": name, "key_hash": _hash(key), "permissions": sorted(set(permissions))}
    made = session.scalar(insert(Service).on_conflict_do_nothing().returning(Service.name), values)
    if made is None:
        raise Conflict(
            f"name: there is a service {name!r} already; `stagebloom service rotate` gives it a new key",
            field="name",
            value=name,
        )
    return key


def rotate_key(session: Session, name: str) -> str:
    """A new key for a service, which is active again; the old key ends at once. Raises: NotFound."""
    service, key = _service(session, name), _make_key()
    service.key_hash, service.is_active = _hash(key), True
    session.flush()
    return key


def disable_service(session: Session, name: str) -> None:
    """Its key ends at once. Raises: NotFound."""
    _service(session, name).is_active = False
    session.flush()


def list_services(session: Session) -> list[Service]:
    """All of them, by name."""
    return list(session.scalars(select(Service).order_by(Service.name)))


def find_service(session: Session, key: str) -> KnownService:
    """The active service a key belongs to. Raises: Unauthorized, which never repeats any of the key."""
    if not KEY.fullmatch(key):
        raise Unauthorized("the service key is malformed", reason="malformed")
    wanted = _hash(key)
    service = session.scalar(select(Service).where(Service.key_hash == wanted))
    if service is None or not hmac.compare_digest(service.key_hash, wanted):
        raise Unauthorized("no service has this key", reason="unknown_service")
    if not service.is_active:
        raise Unauthorized("this service is disabled", reason="deactivated")
    if service.last_used_at is None or datetime.now(UTC) - service.last_used_at > USED_EVERY:
        session.execute(TOUCH, {"name": service.name, "every": USED_EVERY})
    return KnownService(service.name, tuple(service.permissions))


def is_service_key(token: str) -> bool:
    """Whether a bearer token means a service, not a person."""
    return token.startswith(PREFIX)


def _service(session: Session, name: str) -> Service:
    found = session.get(Service, name)
    if found is None:
        raise NotFound(f"name: there is no service {name!r}", field="name", value=name)
    return found


def _make_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
