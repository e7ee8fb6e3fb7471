"""The OpenAPI 3.1 document, put together from the URL map and the descriptions of its doors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from flask import Flask
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from gateway.api.body import Field
from gateway.openapi import DOORS
from gateway.openapi.door import ANYONE, EVENT_ID, EVENT_SERVICES, PEOPLE_SERVICES, Door
from shared.errors import (
    Conflict,
    Forbidden,
    InvalidAudience,
    InvalidInput,
    NotFound,
    NotificationError,
    RateLimited,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnknownGroup,
)
from shared.models import FORMATS, NOTIFICATION_TYPES, PRIORITIES

# Rules that are no part of the API: pages and their files, the demonstration of one's own machine, the WebSocket.
NO_DOORS = ("pages.", "demo.", "docs.", "notifications")

JSON_TYPES = {str: "string", int: "integer", bool: "boolean", dict: "object", list: "array"}
DESCRIPTION = """Who is named gets notified, live and in the inbox.

A person: `Authorization: Bearer <token>`, made by your identity provider or `stagebloom token`.

A browser: `POST /api/session/` trades that token for the cookie `stagebloom_session`; what changes something then needs the answer's `csrf_token` in `X-CSRF-Token`.

A service: `Authorization: Bearer sbk_…`, the key that `stagebloom service add` prints."""
TAGS_FIRST = ("sending", "events", "notifications", "session", "ticket", "people", "templates")
TAGS_LAST = ("deliveries", "statistics", "privacy", "health", "auditing")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Of fields of bodies: what `gateway.api` only knows to be texts.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "notification_type": NOTIFICATION_TYPES,
    "priority": PRIORITIES,
    "format": FORMATS,
}
DESCRIPTIONS = {
    "event_type": "a row of the catalogue (CATALOG_FILE, or StageBloom's own), such as stage_update",
    "notification_type": "how it looks; the catalogue's unless given",
    "priority": "normal unless given",
    "format": "of the message; plain unless given",
}
PATH_EXAMPLES: Mapping[str, Any] = {
    "event_id": EVENT_ID,
    "external_id": "42",
    "name": "system",
    "locale": "fr",
    "version": 3,
    "delivery_id": 3,
}
ERRORS: tuple[NotificationError, ...] = (
    InvalidInput.field("page_size", "0", "a whole number from 1 to 100"),
    InvalidAudience.field("target_roles", [], "at least one role (or a term in audience)"),
    UnknownGroup("audience: expected known groups, got role_ceo", field="audience", unknown=["role_ceo"]),
    Unauthorized("the token has expired", reason="expired"),
    Forbidden("this needs one of the roles admin", roles=["admin"]),
    NotFound("id: you have no notification 7", field="id", value=7),
    Conflict("idempotency_key: 'order-7' was used with other content by event 7", field="idempotency_key", event_id=7),
    TooLarge("title: expected a text of 1 to 200 characters, got 201 characters", field="title", length=201),
    RateLimited("you may send 20 times a second; try again in 1 s", limit="send", per_second=20, retry_after_seconds=1),
    Unavailable("the database can't answer now; try again"),
)
UNSUPPORTED = {
    "code": "unsupported_media_type",
    "message": "expected Content-Type: application/json, got text/plain",
    "details": {},
}
INTERNAL = {
    "code": "internal",
    "message": "something went wrong here; the log knows it by the request id",
    "details": {"request_id": "5f3a9c01b2d4e6f8"},
}
MEANINGS = {
    400: "A parameter or a field has a value that can't be used; `details.field` names it", 401: "No token, or one that is bad",
    403: "Known, but not allowed", 404: "Not there, or not yours", 409: "The same idempotency key came with other content",
    413: "Longer than its limit", 415: "The body is not sent as application/json", 429: "Too many in a second; see Retry-After",
    500: "A fault of the gateway's", 503: "A server can't answer now; the same request may succeed later",
}  # fmt: skip


def make_document(app: Flask) -> dict[str, Any]:
    """The whole document: every door of the app that is described."""
    models = {door.answer for door in DOORS.values() if door.answer is not None}
    refs, schemas = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for rule in sorted(api_rules(app), key=lambda rule: rule.rule):
        door = DOORS.get(rule.endpoint)
        for method in METHODS:
            if door is not None and rule.methods and method in rule.methods:
                schema = None if door.answer is None else refs[door.answer, "serialization"]
                paths.setdefault(path_of(rule), {})[method.lower()] = _operation(app, rule, method, door, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "StageBloom notifications",
            "version": _version(),
            "description": DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in _tags(app)],
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": _error_schema()},
            "responses": _responses(),
            "securitySchemes": SECURITY,
        },
    }


def _version() -> str:
    try:
        return version("stagebloom")
    except PackageNotFoundError:
        return "unknown"  # run out of a checkout that is not installed


def _tags(app: Flask) -> list[str]:
    """The sections that have a door, in the order in which one needs them; others before the last."""
    found = {rule.endpoint.partition(".")[0] for rule in api_rules(app) if rule.endpoint in DOORS}
    others = sorted(found - {*TAGS_FIRST, *TAGS_LAST})
    return [tag for tag in (*TAGS_FIRST, *others, *TAGS_LAST) if tag in found]


SECURITY = {
    "person": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "A person's token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "stagebloom_session",
        "description": "A browser's session; writes need X-CSRF-Token too.",
    },
    "service": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "sbk_…",
        "description": "A service's key, made by `stagebloom service add`.",
    },
}


def api_rules(app: Flask) -> list[Rule]:
    """The rules of the URL map that are doors of the API."""
    return [
        rule
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith(NO_DOORS[:3]) and rule.endpoint != NO_DOORS[3]
    ]


def path_of(rule: Rule) -> str:
    """`/x/<event_id>/` as OpenAPI writes it: `/x/{event_id}/`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def errors_of(door: Door) -> list[int]:
    """Every status of refusal that a door has: those of its kind, and its own."""
    statuses = {error.status for error in door.errors} | {500}
    if door.who != ANYONE:
        statuses |= {401, 403, 429, 503}
    if door.query or door.path:
        statuses.add(400)
    if door.body is not None:
        statuses |= {400, 413, 415}
    return sorted(statuses)


def _operation(app: Flask, rule: Rule, method: str, door: Door, schema: Any) -> dict[str, Any]:
    words = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    summary, _, rest = words.partition("\n\n")
    content = {"schema": schema or {"type": "string"}, "example": door.example}
    found: dict[str, Any] = {
        "operationId": rule.endpoint.replace(".", "_") + ("" if method != "PUT" else "_put"),
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": " ".join(summary.split()),
        "description": f"For {door.who}." + (f"\n\n{rest}" if rest else ""),
        "security": _security(door),
        "parameters": _parameters(rule, door),
        "responses": {
            str(door.status): {"description": "Done", "content": {door.mimetype: content}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in errors_of(door)},
        },
    }
    if door.body is not None:
        body = {"schema": body_schema(door.body, door.required), "example": door.body_example}
        found["requestBody"] = {"required": True, "content": {"application/json": body}}
    return found


def body_schema(fields: Mapping[str, Field], required: tuple[str, ...]) -> dict[str, Any]:
    """The table that a body is checked against, as a schema. Null counts as absent."""
    properties: dict[str, dict[str, Any]] = {}
    for name, (kinds, expected) in fields.items():
        types = [JSON_TYPES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,))]
        properties[name] = {"type": [*types, "null"], "description": DESCRIPTIONS.get(name, expected)}
        if name in CHOICES and types == ["string"]:
            properties[name]["enum"] = [*CHOICES[name], None]
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }


def _parameters(rule: Rule, door: Door) -> list[dict[str, Any]]:
    found = [
        {"name": name, "in": "path", "required": True, "description": (door.path or {}).get(name, ""),
         "schema": {"type": "integer" if isinstance(PATH_EXAMPLES[name], int) else "string"}, "example": PATH_EXAMPLES[name]}
        for name in sorted(rule.arguments)
    ]  # fmt: skip
    for place, given in (("query", door.query), ("header", door.headers)):
        found += [
            {"name": name, "in": place, "description": said, "schema": {"type": "string"}}
            for name, said in (given or {}).items()
        ]
    return found


def _security(door: Door) -> list[dict[str, list[str]]]:
    if door.who == ANYONE:
        return []
    services: list[dict[str, list[str]]] = [{"service": []}] if door.who in (EVENT_SERVICES, PEOPLE_SERVICES) else []
    return [{"person": []}, {"session": []}, *services]


def _error_schema() -> dict[str, Any]:
    codes = sorted({error.code for error in ERRORS} | {"internal", "method_not_allowed", "unsupported_media_type"})
    error = {
        "type": "object", "required": ["code", "message", "details"],
        "properties": {"code": {"type": "string", "enum": codes}, "message": {"type": "string"}, "details": {"type": "object"}},
    }  # fmt: skip
    return {"type": "object", "required": ["error"], "properties": {"error": error}, "additionalProperties": False}


def _responses() -> dict[str, Any]:
    examples: dict[int, dict[str, Any]] = {415: {"unsupported_media_type": UNSUPPORTED}, 500: {"internal": INTERNAL}}
    for error in ERRORS:
        examples.setdefault(error.status, {})[error.code] = error.as_dict()
    schema = {"$ref": "#/components/schemas/Error"}
    return {
        str(status): {
            "description": MEANINGS[status],
            **(
                {"headers": {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}}
                if status in (429, 503)
                else {}
            ),
            "content": {
                "application/json": {
                    "schema": schema,
                    "examples": {code: {"value": {"error": value}} for code, value in found.items()},
                }
            },
        }
        for status, found in sorted(examples.items())
    }
