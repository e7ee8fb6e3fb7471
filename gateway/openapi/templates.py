"""The doors of templates."""

from __future__ import annotations

from typing import Literal

from gateway.api.templates import PREVIEW_FIELDS, SAVE_FIELDS
from gateway.openapi.door import ADMINS, MOMENT, Answer, Door
from shared.errors import InvalidInput, NotFound


class Listed(Answer):
    name: str
    locale: str
    newest_version: int
    active_version: int | None
    faults: int


class Templates(Answer):
    results: list[Listed]


class Version(Answer):
    name: str
    locale: str
    version: int
    title: str
    message: str
    format: Literal["plain", "rich"]
    variables: list[str]
    is_active: bool
    created_at: str


class Versions(Answer):
    results: list[Version]


class Preview(Answer):
    title: str
    message: str
    format: Literal["plain", "rich"]


class Deactivated(Answer):
    name: str
    locale: str
    deactivated_version: int | None


VERSION = {
    "name": "system", "locale": "fr", "version": 3, "title": "Rapport de {{ name }}", "message": "Bonjour {{ name }}", "format": "plain",
    "variables": ["name"], "is_active": True, "created_at": MOMENT,
}  # fmt: skip
DRAFT = {"title": "Rapport de {{ name }}", "message": "Bonjour {{ name }}", "variables": ["name"]}
PATH = {"name": "an event type, or `type.action`", "locale": "a language such as fr"}
OF_VERSION = {**PATH, "version": "its number"}

DOORS = {
    "templates.list_templates": Door(
        who=ADMINS, answer=Templates,
        example={"results": [{"name": "system", "locale": "fr", "newest_version": 3, "active_version": 3, "faults": 0}]},
    ),
    "templates.list_versions": Door(who=ADMINS, answer=Versions, example={"results": [VERSION]}, path=PATH),
    "templates.save": Door(
        who=ADMINS, answer=Version, status=201, example=VERSION, body=SAVE_FIELDS, required=("title", "message"), path=PATH,
        body_example={**DRAFT, "activate": True}, errors=(InvalidInput,),
    ),
    "templates.preview": Door(
        who=ADMINS, answer=Preview, example={"title": "Rapport de Ann", "message": "Bonjour Ann", "format": "plain"}, body=PREVIEW_FIELDS, path=PATH,
        body_example={**DRAFT, "data": {"name": "Ann"}}, errors=(NotFound,),
    ),
    "templates.activate": Door(who=ADMINS, answer=Version, example=VERSION, path=OF_VERSION, errors=(NotFound,)),
    "templates.deactivate": Door(
        who=ADMINS, answer=Deactivated, example={"name": "system", "locale": "fr", "deactivated_version": 3}, path=PATH, errors=(NotFound,)
    ),
}  # fmt: skip
