"""Sending over HTTP: recorded once with the sender's name, refused by field, never half done."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from shared.database import transaction
from shared.models import NotificationEvent
from shared.redis import connect
from shared.tasks import EVENTS

ROLES = "/api/notifications/send-role-notification/"
BROADCAST = "/api/notifications/send-broadcast/"
GOOD = {"target_roles": ["rh"], "title": "T", "message": "M"}


@pytest.fixture
def send(client, company):
    """POST as someone with these roles: (address, body, role="rh", headers) → answer."""
    company.people(["ann"], "role_admin")
    company.people(["rob"], "role_rh", "stage_3")
    company.people(["sam"], "role_stagiaire")
    who = {"admin": "ann", "rh": "rob", "stagiaire": "sam"}

    def post(address, body, role="rh", **headers):
        data = json.dumps(body)  # ASCII, so that half a character can be sent as browsers send it
        return client.post(
            address, data=data, content_type="application/json", headers={**company.bearer(who[role]), **headers}
        )

    return post


def the_event(settings):
    with transaction(settings) as session:
        return session.scalars(select(NotificationEvent)).one()


def test_an_event_is_recorded_and_the_bell_rung(send, settings):
    answer = send(ROLES, {**GOOD, "data": {"stage_id": 3}, "notification_type": "warning", "exclude": ["user_sam"]})

    assert answer.status_code == 202
    event = the_event(settings)
    assert answer.json == {"event_id": event.id, "status": "pending", "repeated": False}
    assert event.audience == [["role_rh"]]
    assert event.exclude == ["user_sam"]
    assert event.texts == {"fr": {"title": "T", "message": "M"}}
    assert (event.data, event.notification_type, event.source) == ({"stage_id": 3}, "warning", "http:rob")
    assert event.source_user_id is not None
    with connect(settings) as redis:
        assert redis.llen(EVENTS) == 1


def test_terms_may_stand_beside_roles_or_alone(send, settings):
    body = {**GOOD, "target_roles": ["admin"], "audience": ["role_rh & stage_3", "user_sam"]}
    assert send(ROLES, body).status_code == 202
    assert the_event(settings).audience == [["role_admin"], ["role_rh", "stage_3"], ["user_sam"]]


def test_terms_alone_are_enough(send, settings):
    assert send(ROLES, {"audience": ["stage_3"], "title": "T", "message": "M"}).status_code == 202
    assert the_event(settings).audience == [["stage_3"]]


def test_a_broadcast_is_for_everyone(send, settings):
    assert send(BROADCAST, {"title": "T", "message": "M"}, role="admin").status_code == 202
    assert the_event(settings).audience == [["everyone"]]


def test_a_group_that_is_empty_is_fine(send, company):
    company.groups("role_alumni")
    assert send(ROLES, {**GOOD, "target_roles": ["alumni"]}).status_code == 202


@pytest.mark.parametrize(
    ("address", "role", "needed"),
    [(ROLES, "stagiaire", ["admin", "rh"]), (BROADCAST, "stagiaire", ["admin"]), (BROADCAST, "rh", ["admin"])],
)
def test_without_the_role_nothing_is_sent(address, role, needed, send, company):
    answer = send(address, GOOD, role=role)
    assert answer.status_code == 403
    assert answer.json["error"]["details"] == {"roles": needed}
    assert company.count("notification_events") == 0


def test_critical_is_for_those_who_may_send_to_roles(company, settings):
    from gateway.app import create_app

    company.person("eve", "role_press")
    app = create_app(settings.model_copy(update={"broadcast_roles": ("press",)}))
    body = {"title": "T", "message": "M", "priority": "critical"}
    answer = app.test_client().post(BROADCAST, json=body, headers=company.bearer("eve"))
    assert answer.status_code == 403
    assert answer.json["error"]["message"] == "priority critical needs one of the roles admin, rh"
    assert company.count("notification_events") == 0
    assert (
        app.test_client().post(BROADCAST, json={**body, "priority": "high"}, headers=company.bearer("eve")).status_code
        == 202
    )


def test_the_same_key_sends_once(send, company):
    headers = {"Idempotency-Key": "order-7"}
    first, second = send(ROLES, GOOD, **headers), send(ROLES, GOOD, **headers)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json["event_id"] == second.json["event_id"]
    assert (first.json["repeated"], second.json["repeated"]) == (False, True)
    assert company.count("notification_events") == 1
    assert company.count("audit_log") == 1


def test_the_same_key_with_other_content_is_a_conflict(send, company):
    headers = {"Idempotency-Key": "order-7"}
    first = send(ROLES, GOOD, **headers)
    answer = send(ROLES, {**GOOD, "title": "Other"}, **headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "conflict")
    assert answer.json["error"]["details"]["event_id"] == first.json["event_id"]
    assert company.count("notification_events") == 1


def test_two_people_may_choose_the_same_key(send, company):
    send(ROLES, GOOD, **{"Idempotency-Key": "1"})
    send(ROLES, GOOD, role="admin", **{"Idempotency-Key": "1"})
    assert company.count("notification_events") == 2


REFUSED = {
    "no title": ({"title": None}, 400, "invalid_input", "title"),
    "an empty title": ({"title": ""}, 400, "invalid_input", "title"),
    "a blank title": ({"title": " \n"}, 400, "invalid_input", "title"),
    "a title of 201": ({"title": "x" * 201}, 413, "too_large", "title"),
    "a number as title": ({"title": 7}, 400, "invalid_input", "title"),
    "a NUL in the title": ({"title": "a\0b"}, 400, "invalid_input", "title"),
    "half a character": ({"title": "\ud800"}, 400, "invalid_input", "title"),
    "no message": ({"message": None}, 400, "invalid_input", "message"),
    "neither title nor message": ({"title": None, "message": None}, 400, "invalid_input", "title"),
    "a message of 4001": ({"message": "x" * 4001}, 413, "too_large", "message"),
    "an unknown type": ({"notification_type": "urgent"}, 400, "invalid_input", "notification_type"),
    "an empty type": ({"notification_type": ""}, 400, "invalid_input", "notification_type"),
    "an unknown event type": ({"event_type": "party"}, 400, "invalid_input", "event_type"),
    "an unknown priority": ({"priority": "now"}, 400, "invalid_input", "priority"),
    "an empty priority": ({"priority": ""}, 400, "invalid_input", "priority"),
    "an unknown role": ({"target_roles": ["rh", "ceo"]}, 400, "unknown_group", "audience"),
    "an unknown group": ({"audience": ["stage_99"]}, 400, "unknown_group", "audience"),
    "an unknown person": ({"audience": ["user_nobody"]}, 400, "unknown_group", "audience"),
    "no roles": ({"target_roles": []}, 400, "invalid_audience", "target_roles"),
    "no audience": ({"target_roles": None}, 400, "invalid_audience", "target_roles"),
    "a text as roles": ({"target_roles": "rh"}, 400, "invalid_input", "target_roles"),
    "a number among roles": ({"target_roles": [7]}, 400, "invalid_audience", "target_roles"),
    "a term among roles": ({"target_roles": ["rh & stage_3"]}, 400, "invalid_audience", "target_roles"),
    "a malformed term": ({"audience": ["role_rh &"]}, 400, "invalid_audience", "audience"),
    "a number as term": ({"audience": [7]}, 400, "invalid_audience", "audience"),
    "a list as term": ({"audience": [["role_rh"]]}, 400, "invalid_audience", "audience"),
    "a text as exclusion": ({"exclude": "user_sam"}, 400, "invalid_input", "exclude"),
    "an unknown exclusion": ({"exclude": ["user_nobody"]}, 400, "unknown_group", "audience"),
    "an intersection as exclusion": ({"exclude": ["role_rh & stage_3"]}, 400, "invalid_audience", "exclude"),
    "a list as data": ({"data": [1]}, 400, "invalid_input", "data"),
    "a NUL in data": ({"data": {"a": "\0"}}, 400, "invalid_input", "data"),
    "half a character in data": ({"data": {"a": "\udfff"}}, 400, "invalid_input", "data"),
    "much data": ({"data": {"a": "x" * 20_000}}, 413, "too_large", "data"),
    "a script as link": ({"link": "javascript:alert(1)"}, 400, "invalid_input", "link"),
    "another site as path": ({"link": "//evil.test"}, 400, "invalid_input", "link"),
    "a script as image": ({"image": "data:text/html,x"}, 400, "invalid_input", "image"),
    "a text as actions": ({"actions": "x"}, 400, "invalid_input", "actions"),
    "an action without link": ({"actions": [{"label": "x"}]}, 400, "invalid_input", "actions[0]"),
    "six actions": ({"actions": [{"label": "x", "link": "/"}] * 6}, 400, "invalid_input", "actions[5]"),
    "an empty category": ({"category": ""}, 400, "invalid_input", "category"),
    "texts and title": ({"texts": {"fr": {"title": "a", "message": "b"}}}, 400, "invalid_input", "texts"),
    "no texts in texts": ({"title": None, "message": None, "texts": {}}, 400, "invalid_input", "texts"),
    "a field nobody knows": ({"titel": "x"}, 400, "invalid_input", "field"),
    "a field that is not for callers": ({"source_user": "ann"}, 400, "invalid_input", "field"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_field_and_nothing_is_stored(case, send, company, settings):
    change, status, code, field = REFUSED[case]

    answer = send(ROLES, {**GOOD, **change})

    error = answer.json["error"]
    assert (answer.status_code, error["code"], error["details"]["field"]) == (status, code, field), error
    assert error["message"].startswith(field.partition("[")[0])
    assert company.count("notification_events") == 0
    with connect(settings) as redis:
        assert redis.llen(EVENTS) == 0


def test_an_unknown_field_is_told_the_known_ones(send):
    message = send(ROLES, {**GOOD, "titel": "x"}).json["error"]["message"]
    assert "'titel'" in message
    assert "target_roles" in message


def test_a_broadcast_takes_no_roles(send, company):
    assert send(BROADCAST, GOOD, role="admin").json["error"]["details"]["value"] == "'target_roles'"
    assert company.count("notification_events") == 0


BODIES = {
    "nothing": (b"", "application/json", 400, "invalid_input"),
    "half an object": (b'{"title": ', "application/json", 400, "invalid_input"),
    "not UTF-8": (b'{"title": "\xff"}', "application/json", 400, "invalid_input"),
    "a list": (b"[1]", "application/json", 400, "invalid_input"),
    "a text": (b'"x"', "application/json", 400, "invalid_input"),
    "null": (b"null", "application/json", 400, "invalid_input"),
    "a deep nest": (b"[" * 30_000, "application/json", 400, "invalid_input"),
    "a deep nest in data": (
        json.dumps({**GOOD, "data": {}}).replace("{}", '{"a":' + "[" * 5000 + "]" * 5000 + "}").encode(),
        "application/json",
        400,
        "invalid_input",
    ),
    "a number without end": (b'{"title": ' + b"9" * 60_000 + b"}", "application/json", 400, "invalid_input"),
    "infinity in data": (
        b'{"target_roles":["rh"],"title":"T","message":"M","data":{"a":1e999}}',
        "application/json",
        400,
        "invalid_input",
    ),
    "not a number in data": (
        b'{"target_roles":["rh"],"title":"T","message":"M","data":{"a":NaN}}',
        "application/json",
        400,
        "invalid_input",
    ),
    "too much": (b'{"title": "' + b"x" * 70_000 + b'"}', "application/json", 413, "too_large"),
    "a form": (b"title=T", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    "no type": (json.dumps(GOOD).encode(), None, 415, "unsupported_media_type"),
    "a text type, as a form of another site could send": (
        json.dumps(GOOD).encode(),
        "text/plain",
        415,
        "unsupported_media_type",
    ),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_is_no_json_object_is_refused(case, client, company):
    company.people(["rob"], "role_rh")
    body, content_type, status, code = BODIES[case]

    answer = client.post(ROLES, data=body, content_type=content_type, headers=company.bearer("rob"))

    assert (answer.status_code, answer.json["error"]["code"]) == (status, code), answer.json
    assert len(answer.json["error"]["message"]) < 500
    assert company.count("notification_events") == 0


@pytest.mark.parametrize("key", ["", " ", "x" * 201])
def test_a_key_that_is_none_is_refused(key, send, company):
    answer = send(ROLES, GOOD, **{"Idempotency-Key": key})
    assert answer.status_code in (400, 413)
    assert answer.json["error"]["details"]["field"] == "idempotency_key"
    assert company.count("notification_events") == 0


def test_without_a_broker_the_event_is_recorded_and_waits(company, settings, closed_port):
    from gateway.app import create_app

    company.people(["rob"], "role_rh")
    app = create_app(settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{closed_port}/0"}))
    answer = app.test_client().post(ROLES, json=GOOD, headers=company.bearer("rob"))
    assert (answer.status_code, answer.json["status"]) == (202, "pending")
    assert company.count("notification_events") == 1


def test_who_may_not_broadcast_may_not_name_everyone_either(client, company):
    company.person("rh", "role_rh")
    body = {"audience": ["everyone"], "title": "T", "message": "M"}
    answer = client.post("/api/notifications/send-role-notification/", json=body, headers=company.bearer("rh"))
    assert (answer.status_code, company.count("notification_events")) == (403, 0)
    body["audience"] = ["everyone & role_rh"]
    answer = client.post("/api/notifications/send-role-notification/", json=body, headers=company.bearer("rh"))
    assert answer.status_code == 202
