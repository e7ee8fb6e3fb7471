"""The audit log, for those who may send to everyone."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, request

from gateway.auth import current_authenticator, requires_role
from gateway.filters import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    only_known,
    read_moments,
    read_text,
    read_whole,
)
from gateway.transactions import in_transaction
from shared import audit

blueprint = Blueprint("auditing", __name__, url_prefix="/api/notifications/audit")

PARAMETERS = ("actor", "action", "since", "until", "cursor", "page_size")


@blueprint.get("/")
@requires_role(lambda settings: settings.broadcast_roles)
def list_records() -> dict[str, Any]:
    """Who did what, newest first."""
    given = only_known(request.args.to_dict(flat=False), PARAMETERS)
    since, until = read_moments(given)
    filters = audit.Filters(
        actor=read_text(given, "actor", audit.MAX_TEXT), action=read_text(given, "action"), since=since, until=until
    )
    size = read_whole(given, "page_size", MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE
    rows, cursor = in_transaction(
        current_authenticator().settings,
        lambda session: audit.list_records(session, filters, size, given.get("cursor")),
    )
    following = None if cursor is None else f"{request.path}?{urlencode({**given, 'cursor': cursor})}"
    return {"next": following, "results": [audit.as_json(row) for row in rows]}
