"""What goes by mail and webhook, for those who may send to everyone: looked at, and sent again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request
from sqlalchemy import Row
from sqlalchemy.orm import Session

from gateway.auth import current_actor, current_authenticator, requires_role
from gateway.filters import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, only_known, read_text, read_whole
from gateway.transactions import in_transaction
from shared import audit
from shared import deliveries as work
from shared.doorbell import ring
from shared.errors import InvalidInput

blueprint = Blueprint("deliveries", __name__, url_prefix="/api/notifications/deliveries")

PARAMETERS = ("status", "channel", "event", "cursor", "page_size")


@blueprint.get("/")
@requires_role(lambda settings: settings.broadcast_roles)
def list_deliveries() -> dict[str, Any]:
    """The newest first; `cursor` is the id of a delivery: those before it."""
    given = only_known(request.args.to_dict(flat=False), PARAMETERS)
    filters = work.Filters(
        read_text(given, "status"), read_text(given, "channel"), read_whole(given, "event", work.MAX_ID)
    )
    size = read_whole(given, "page_size", MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE
    cursor = read_whole(given, "cursor", work.MAX_ID)
    rows: list[Row[Any]] = in_transaction(
        current_authenticator().settings, lambda session: work.list_deliveries(session, filters, size + 1, cursor)
    )
    shown = rows[:size]
    following = f"{request.path}?{urlencode({**given, 'cursor': shown[-1].id})}" if len(rows) > size else None
    return {"next": following, "results": [work.as_json(row) for row in shown]}


@blueprint.post("/<delivery_id>/replay/")
@requires_role(lambda settings: settings.broadcast_roles)
def replay(delivery_id: str) -> tuple[dict[str, Any], int]:
    """Send one again that failed, was skipped or waits: now, and from the first try on."""
    wanted = read_whole({"id": delivery_id}, "id", work.MAX_ID)
    if wanted is None:
        raise InvalidInput.field("id", delivery_id, "the id of a delivery")
    settings, actor = current_authenticator().settings, current_actor()

    def change(session: Session) -> tuple[str, Row[Any]]:
        door = work.replay(session, wanted)
        audit.record(session, actor, "delivery.replay", str(wanted))
        return door, work.get_delivery(session, wanted)

    door, row = in_transaction(settings, change)
    ring(door, settings)
    return work.as_json(row), 202
