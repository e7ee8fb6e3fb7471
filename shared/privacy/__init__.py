"""A person's data on request: all of it exported, or erased. In pieces, each a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy.orm import Session

from shared.errors import NotFound

Transact = Callable[[Callable[[Session], Any]], Any]
"""Runs a piece of work in a transaction and gives what it returns."""

ROWS_AT_ONCE = 1000

# Every table that names people, and what an erasure does to it; a test finds those that are missing here.
COVERED = {
    "users": "emptied, deleted an hour later",
    "memberships": "deleted",
    "notification_events": "redacted",
    "event_batches": "the id is taken out",
    "notifications": "deleted",
    "notification_templates": "who wrote them is forgotten with the row",
    "deliveries": "deleted",
    "websocket_connections": "deleted",
    "count_changes": "numbers only, folded and deleted within seconds",
    "audit_log": "an opaque id instead",
}


def unknown(external_id: str) -> NotFound:
    """Nobody has that id."""
    return NotFound(f"id: there is no person {external_id!r}", field="id", value=external_id)
