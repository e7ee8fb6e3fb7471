"""Tickets: what a browser shows as the first message of its WebSocket, since it can send no header there.

Random, single-use, gone after 30 s, and never in an address, where logs would keep it. Redis holds
them under the installation's id; one that Redis loses is asked for again.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime

import redis

from shared.errors import Unauthorized, Unavailable
from shared.tokens import Claims

LIFETIME_SECONDS = 30
SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 random bytes


def make_ticket(client: redis.Redis, installation_id: str, claims: Claims) -> tuple[str, int]:
    """A ticket for whom the claims name, and its life in seconds. Raises: Unavailable."""
    ticket = secrets.token_urlsafe(32)
    left_seconds = int((claims.expires_at - datetime.now(UTC)).total_seconds())
    lifetime_seconds = max(1, min(LIFETIME_SECONDS, left_seconds))
    value = json.dumps({"person": claims.person, "expires_at": claims.expires_at.timestamp()})
    try:
        client.set(_key(installation_id, ticket), value, ex=lifetime_seconds)
    except redis.RedisError as error:
        raise Unavailable("tickets can't be made now: Redis does not answer") from error
    return ticket, lifetime_seconds


def redeem_ticket(client: redis.Redis, installation_id: str, ticket: object) -> Claims:
    """What a ticket proves; it is gone then. Raises: Unauthorized, Unavailable."""
    value = None
    if isinstance(ticket, str) and SHAPE.fullmatch(ticket):
        try:
            value = client.getdel(_key(installation_id, ticket))
        except redis.RedisError as error:
            raise Unavailable("tickets can't be checked now: Redis does not answer") from error
    if value is None:
        raise Unauthorized("the ticket is unknown, used or expired", reason="ticket")
    kept = json.loads(value)
    return Claims(kept["person"], datetime.fromtimestamp(kept["expires_at"], UTC))


def _key(installation_id: str, ticket: str) -> str:
    return f"stagebloom:{installation_id}:ticket:{ticket}"
