"""Events over HTTP: for services that can't import Python, and for admins.

What is sent waits in PostgreSQL, whatever the workers can take; a service is never refused for its pace.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from gateway.api.body import json_object
from gateway.api.sending import ROLE_FIELDS, record_draft
from gateway.auth import (
    current_authenticator,
    current_service,
    requires_role,
    requires_service_or_role,
)
from gateway.events import event_json, get_event, list_events
from gateway.filters import only_known, read_event_id, read_page, read_text
from gateway.transactions import in_transaction
from shared.audience import role_terms
from shared.errors import InvalidInput
from shared.events import EventDraft
from shared.models import EVENT_STATUSES
from shared.settings import Settings

blueprint = Blueprint("events", __name__, url_prefix="/api/notifications/events")

EVENT_FIELDS = {
    **ROLE_FIELDS,
    "event_data": ROLE_FIELDS["data"],  # its name in Python; `data` means the same
    "source_user": ((str, int), "the id of the person who caused it"),
}
PARAMETERS = ("status", "event_type", "cursor", "page_size")
PERMISSION = "events"


def _admins(settings: Settings) -> tuple[str, ...]:
    return settings.broadcast_roles


@blueprint.post("/")
@requires_service_or_role(PERMISSION, _admins)
def create_event() -> tuple[dict[str, Any], int]:
    """Record that something happened: whoever it concerns by role, audience or catalogue is notified."""
    body = json_object(EVENT_FIELDS)
    if "event_type" not in body:
        raise InvalidInput.field("event_type", None, "a row of the catalogue, such as stage_update")
    if "event_data" in body:
        if "data" in body:
            raise InvalidInput("data: expected data or event_data, got both", field="data")
        body["data"] = body.pop("event_data")
    if "source_user" in body and current_service() is None:
        raise InvalidInput("source_user: expected none: an event that a person records is theirs", field="source_user")
    roles, terms = body.pop("target_roles", None), body.pop("audience", None)
    audience = None if roles is None and terms is None else [*role_terms(roles or []), *(terms or [])]
    return record_draft(EventDraft(**body, audience=audience), "event.create")


@blueprint.get("/")
@requires_role(_admins)
def show_events() -> dict[str, Any]:
    """The newest events of every source, without their words."""
    given = only_known(request.args.to_dict(flat=False), PARAMETERS)
    page, status = read_page(given), given.get("status")
    if status is not None and status not in EVENT_STATUSES:
        raise InvalidInput.field("status", status, "one of " + ", ".join(EVENT_STATUSES))
    if page.newer_than is not None:
        raise InvalidInput.field("cursor", given["cursor"], "the cursor of a `next` address")
    kind = read_text(given, "event_type")
    rows = in_transaction(
        current_authenticator().settings,
        lambda session: list_events(session, page.size + 1, page.older_than, status, kind),
    )
    shown = rows[: page.size]
    following = f"{request.path}?{urlencode({**given, 'cursor': shown[-1].id})}" if len(rows) > page.size else None
    return {"next": following, "results": [event_json(event) for event in shown]}


@blueprint.get("/<event_id>/")
@requires_service_or_role(PERMISSION, _admins)
def show_event(event_id: str) -> dict[str, Any]:
    """One event: its status, how many it is for, how far its batches are. A service sees its own."""
    wanted, service = read_event_id(event_id), current_service()
    source = None if service is None else f"service:{service.name}"
    return in_transaction(current_authenticator().settings, lambda session: get_event(session, wanted, source))
