"""Templates: the application's own words, for those who may send to everyone. Each change is in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from flask import Blueprint
from sqlalchemy.orm import Session

from gateway.api.body import Field, json_object
from gateway.auth import current_actor, current_authenticator, current_person, requires_role
from gateway.transactions import in_transaction
from shared import audit, templates
from shared.models import NotificationTemplate
from shared.templates import CHANGE, TemplateDraft

blueprint = Blueprint("templates", __name__, url_prefix="/api/notifications/templates")

TEXT: Field = (str, "a text")
DRAFT_FIELDS: Mapping[str, Field] = {
    "title": TEXT,
    "message": TEXT,
    "format": TEXT,
    "variables": (list, "a list of names"),
}
SAVE_FIELDS: Mapping[str, Field] = {**DRAFT_FIELDS, "activate": (bool, "true or false")}
PREVIEW_FIELDS: Mapping[str, Field] = {**DRAFT_FIELDS, "version": (int, "a number"), "data": (dict, "a JSON object")}

may_write = requires_role(lambda settings: settings.broadcast_roles)


@blueprint.get("/")
@may_write
def list_templates() -> dict[str, Any]:
    """Every name and locale that has versions."""
    return {"results": _transaction(templates.list_templates)}


@blueprint.get("/<name>/<locale>/")
@may_write
def list_versions(name: str, locale: str) -> dict[str, Any]:
    """The newest hundred versions, newest first."""
    found = _transaction(lambda session: templates.list_versions(session, name, locale))
    return {"results": [templates.as_json(version) for version in found]}


@blueprint.post("/<name>/<locale>/")
@may_write
def save(name: str, locale: str) -> tuple[dict[str, Any], int]:
    """Keep the next version; with `activate` it is used from the next event on."""
    body = json_object(SAVE_FIELDS)
    activate = body.pop("activate", False)
    settings, actor, author = current_authenticator().settings, current_actor(), current_person().id

    def work(session: Session) -> NotificationTemplate:
        saved = templates.save(session, _draft(name, locale, body), created_by=author, settings=settings)
        audit.record(session, actor, CHANGE, f"{name}/{locale}", {"change": "saved", "version": saved.version})
        return _activate(session, name, locale, saved.version) if activate else saved

    return templates.as_json(_transaction(work)), 201


@blueprint.post("/<name>/<locale>/preview/")
@may_write
def preview(name: str, locale: str) -> dict[str, Any]:
    """What an event with `data` would say: of the sources given, or of a version (or else the active one)."""
    body = json_object(PREVIEW_FIELDS)
    data, version = body.pop("data", {}), body.pop("version", None)
    if body:
        draft = _draft(name, locale, body)
    else:
        draft = _transaction(lambda session: templates.draft_of(templates.get(session, name, locale, version)))
    return asdict(templates.preview(draft, data, current_authenticator().settings))


@blueprint.post("/<name>/<locale>/<int:version>/activate/")
@may_write
def activate(name: str, locale: str, version: int) -> dict[str, Any]:
    """Use this version from the next event on; an earlier one as well."""
    return templates.as_json(_transaction(lambda session: _activate(session, name, locale, version)))


@blueprint.post("/<name>/<locale>/deactivate/")
@may_write
def deactivate(name: str, locale: str) -> dict[str, Any]:
    """Let the catalogue speak again."""
    actor = current_actor()

    def work(session: Session) -> int | None:
        templates.get(session, name, locale)
        version = templates.deactivate(session, name, locale)
        if version is not None:
            audit.record(session, actor, CHANGE, f"{name}/{locale}", {"change": "deactivated", "version": version})
        return version

    return {"name": name, "locale": locale, "deactivated_version": _transaction(work)}


def _activate(session: Session, name: str, locale: str, version: int) -> NotificationTemplate:
    active = templates.activate(session, name, locale, version)
    audit.record(session, current_actor(), CHANGE, f"{name}/{locale}", {"change": "activated", "version": version})
    return active


def _draft(name: str, locale: str, body: Mapping[str, Any]) -> TemplateDraft:
    return TemplateDraft(name=name, locale=locale, **{"title": "", "message": "", **body})


def _transaction(work: Callable[[Session], Any]) -> Any:
    return in_transaction(current_authenticator().settings, work)
