"""Who may do what over HTTP: every endpoint × everyone who may ask, as one table whose rows come from the URL map.

Nothing can be left out: a rule without a row fails, a row without a rule too. What comes back is held against
the API's own description, so every answer is what the OpenAPI document says.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from gateway.openapi import DOORS
from gateway.openapi.document import api_rules, errors_of
from shared import templates
from shared.database import transaction
from shared.settings import Settings
from shared.templates import TemplateDraft
from tests.company import Company
from tests.structure.callers import CALLERS, PEOPLE, hire

ANYONE = set(CALLERS)
SENDERS = {"rh", "admin"}
ADMINS = {"admin"}
SERVICES = {"admin", "service"}

API = "/api/notifications"
TABLE: dict[str, Collection[str]] = {
    # Pages, health and the WebSocket, which says who it is in its headers or its first message.
    "GET /": ANYONE,
    "GET /favicon.ico": ANYONE,
    "GET /static/<path:filename>": ANYONE,
    "GET /healthz": ANYONE,
    "GET /readyz": ANYONE,
    "GET /api/demo/": ANYONE,  # loopback only, and checks that itself
    "GET /api/docs": ANYONE,
    "GET /api/openapi.json": ANYONE,
    "GET /ws/notifications/": ANYONE,
    # One's own.
    "GET /api/session/": PEOPLE,
    "POST /api/session/": PEOPLE,
    "DELETE /api/session/": PEOPLE,
    f"POST {API}/ticket/": PEOPLE,
    f"GET {API}/notifications/": PEOPLE,
    f"GET {API}/notifications/search/": PEOPLE,
    f"GET {API}/notifications/unread-count/": PEOPLE,
    f"GET {API}/notifications/statistics/": PEOPLE,
    f"GET {API}/notifications/<event_id>/": PEOPLE,
    f"POST {API}/notifications/<event_id>/read/": PEOPLE,
    f"POST {API}/notifications/mark-all-read/": PEOPLE,
    f"DELETE {API}/notifications/<event_id>/delete/": PEOPLE,
    f"DELETE {API}/notifications/clear-all/": PEOPLE,
    f"GET {API}/connections/status/": PEOPLE,  # all of them for admins
    f"GET {API}/export/": PEOPLE,
    # Sending.
    f"POST {API}/send-role-notification/": SENDERS,
    f"POST {API}/send-broadcast/": ADMINS,
    f"POST {API}/events/": SERVICES,
    f"GET {API}/events/": ADMINS,
    f"GET {API}/events/<event_id>/": SERVICES,
    # People.
    f"POST {API}/people/": SERVICES,
    f"PUT {API}/people/": SERVICES,
    f"GET {API}/people/<external_id>/": SERVICES,
    f"DELETE {API}/people/<external_id>/": ADMINS,
    f"GET {API}/people/<external_id>/export/": ADMINS,
    f"POST {API}/people/deactivate/": SERVICES,
    f"POST {API}/groups/": SERVICES,
    f"POST {API}/memberships/": SERVICES,
    # Administration.
    f"GET {API}/audit/": ADMINS,
    f"GET {API}/system-stats/": ADMINS,
    f"GET {API}/templates/": ADMINS,
    f"GET {API}/templates/<name>/<locale>/": ADMINS,
    f"POST {API}/templates/<name>/<locale>/": ADMINS,
    f"POST {API}/templates/<name>/<locale>/preview/": ADMINS,
    f"POST {API}/templates/<name>/<locale>/<int:version>/activate/": ADMINS,
    f"POST {API}/templates/<name>/<locale>/deactivate/": ADMINS,
    f"GET {API}/deliveries/": ADMINS,
    f"POST {API}/deliveries/<delivery_id>/replay/": ADMINS,
}
ADD = "add a row to TABLE here, saying who may, and a Door to gateway/openapi/, saying what it takes and answers"
FAILED = text("""
    INSERT INTO deliveries (event_id, recipient_id, channel, status)
    SELECT :event_id, id, 'email', 'failed' FROM users WHERE external_id = '42' RETURNING id
""")
QUERIES = {f"GET {API}/notifications/search/": "?q=title"}  # what an endpoint can't do without


def rows(app: Flask) -> dict[str, str]:
    """`METHOD rule` → endpoint, of every rule."""
    return {
        f"{method} {rule.rule}": rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}
    }


@pytest.fixture
def headers(company: Company) -> dict[str, dict[str, str]]:
    """What each caller sends to prove who they are."""
    return {caller: {"Authorization": f"Bearer {token}"} if token else {} for caller, token in hire(company).items()}


@pytest.fixture
def place(company: Company, settings: Settings, headers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A company in which everything that a path can name exists; by caller, what each puts into paths."""
    company.groups("stage_7")
    company.person("42")
    with transaction(settings) as session:
        for _ in range(3):
            templates.save(
                session,
                TemplateDraft(name="system", locale="fr", title="{{ name }}", message="{{ name }}", variables=["name"]),
            )
    names = {
        "external_id": "42",
        "name": "system",
        "locale": "fr",
        "int:version": 3,
        "path:filename": "home.css",
        "delivery_id": _delivery(settings, company),
    }
    events = {caller: company.notify(caller) for caller in PEOPLE}
    events["service"] = company.notify("42", source="service:matrix")
    return {caller: {**names, "event_id": events.get(caller, 1)} for caller in CALLERS}


def _delivery(settings: Settings, company: Company) -> int:
    """A delivery that failed, of an event of its own; its id."""
    values = {"event_id": company.notify("42")}
    with transaction(settings) as session:
        return int(session.execute(FAILED, values).scalar_one())


def test_every_rule_has_a_row_and_every_row_a_rule(app: Flask) -> None:
    exists = set(rows(app))
    assert exists - set(TABLE) == set(), ADD
    assert set(TABLE) - exists == set(), "these rows have no rule any more: take them away"


def test_every_rule_is_described_and_every_description_has_a_rule(app: Flask) -> None:
    endpoints = {rule.endpoint for rule in api_rules(app)}
    assert endpoints - set(DOORS) == set(), ADD
    assert set(DOORS) - endpoints == set(), "these descriptions have no rule any more: take them away"


@pytest.mark.parametrize("row", TABLE)
def test_only_who_may_does(
    row: str, app: Flask, client: FlaskClient, place: dict[str, dict[str, Any]], headers: dict[str, dict[str, str]]
) -> None:
    method, _, rule = row.partition(" ")
    endpoint = rows(app)[row]
    door = DOORS.get(endpoint)
    for caller in CALLERS:
        address = re.sub("<(.*?)>", lambda found, caller=caller: str(place[caller][found[1]]), rule) + QUERIES.get(
            row, ""
        )  # type: ignore[misc]
        body = door.body_example if door else None
        answer = client.open(address, method=method, json=body, headers=headers[caller])
        if caller not in TABLE[row]:
            expected = 401 if caller in ("nobody", "deactivated") else 403
            assert answer.status_code == expected, (caller, answer.json)
            assert door is None or expected in errors_of(door)
        elif door is None:
            assert answer.status_code not in (401, 403), caller
        else:
            assert answer.status_code == door.status, (caller, answer.json)
            assert answer.mimetype == door.mimetype
            if door.answer is not None:
                door.answer.model_validate(answer.json)
