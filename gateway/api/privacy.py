"""A person's data on request: everything about them, or nothing any more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from gateway.auth import (
    current_actor,
    current_authenticator,
    current_person,
    requires_person,
    requires_role,
)
from gateway.transactions import in_transaction
from shared import audit
from shared.doorbell import ring
from shared.models import USER
from shared.privacy.erasure import erase_person
from shared.privacy.export import export_person
from shared.settings import Settings
from shared.tasks import ANNOUNCE_PEOPLE, CLEAN_UP

blueprint = Blueprint("privacy", __name__, url_prefix="/api/notifications")


def _admins(settings: Settings) -> tuple[str, ...]:
    return settings.broadcast_roles


@blueprint.get("/export/")
@requires_person
def export_own() -> Response:
    """Everything about the caller, as JSON Lines."""
    return _export(current_person().external_id)


@blueprint.get("/people/<external_id>/export/")
@requires_role(_admins)
def export_someone(external_id: str) -> Response:
    """Everything about a person, as JSON Lines."""
    return _export(external_id)


@blueprint.delete("/people/<external_id>/")
@requires_role(_admins)
def erase(external_id: str) -> dict[str, Any]:
    """Erase a person for good; their archived notifications follow within the hour."""
    settings = current_authenticator().settings
    erased = erase_person(_transact(), external_id, current_actor(), lambda: ring(ANNOUNCE_PEOPLE, settings))
    ring(CLEAN_UP, settings)
    return erased.as_dict()


def _export(external_id: str) -> Response:
    lines = export_person(_transact(), external_id, current_authenticator().settings.default_locale)
    actor = current_actor()
    _transact()(lambda session: audit.record(session, actor, "person.export", USER + external_id))
    headers = {"Content-Disposition": "attachment; filename=export.jsonl", "X-Accel-Buffering": "no"}
    return Response((line.encode() for line in lines), mimetype="application/x-ndjson", headers=headers)


def _transact() -> Callable[[Callable[[Session], Any]], Any]:
    return partial(in_transaction, current_authenticator().settings)
