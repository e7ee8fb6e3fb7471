"""Tickets for WebSockets: for pages whose cookie does not reach the gateway."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from gateway.auth import current_authenticator, current_caller, requires_person

blueprint = Blueprint("ticket", __name__, url_prefix="/api/notifications/ticket")


@blueprint.post("/")
@requires_person
def make_ticket() -> tuple[dict[str, Any], int]:
    """A ticket for whoever calls; their WebSocket ends when the token shown here does."""
    ticket, lifetime_seconds = current_authenticator().make_ticket(current_caller().claims)
    return {"ticket": ticket, "expires_in_seconds": lifetime_seconds}, 201
