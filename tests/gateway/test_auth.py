"""Who gets in: tokens that are refused, people that are refused, and what they are told."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.settings import Settings
from shared.tokens import Claims, encode, issue_token, verify_token

UNREAD = "/api/notifications/notifications/unread-count/"

Forge = Callable[[Settings], str]


def claims_of(settings: Settings, **changed: Any) -> dict[str, Any]:
    claims = {
        "sub": "42",
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "exp": datetime.now(UTC) + timedelta(hours=1),
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(**changed: Any) -> Forge:
    return lambda settings: jwt.encode(claims_of(settings, **changed), settings.signing_key(), algorithm="HS256")


def unsigned(settings: Settings) -> str:
    return jwt.encode(claims_of(settings), None, algorithm="none")


def with_other_key(settings: Settings) -> str:
    return jwt.encode(claims_of(settings), "another key of thirty-two characters", algorithm="HS256")


def with_other_algorithm(settings: Settings) -> str:
    return jwt.encode(claims_of(settings), settings.signing_key(), algorithm="HS384")


def with_changed_person(settings: Settings) -> str:
    head, _, signature = issue_token(settings, "1").split(".")
    body = {**claims_of(settings), "exp": 9_999_999_999}
    return ".".join([head, base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("="), signature])


def of_a_session(settings: Settings) -> str:
    return encode(settings, f"{settings.jwt_audience}/session", "42", datetime.now(UTC) + timedelta(hours=1), csrf="x")


REFUSED: dict[str, tuple[Forge, str]] = {
    "expired": (signed(exp=datetime.now(UTC) - timedelta(seconds=1)), "expired"),
    "without expiry": (signed(exp=None), "claim"),
    "of another audience": (signed(aud="elsewhere"), "audience"),
    "without audience": (signed(aud=None), "claim"),
    "of another issuer": (signed(iss="someone"), "issuer"),
    "without issuer": (signed(iss=None), "claim"),
    "without person": (signed(sub=None), "claim"),
    "with an empty person": (signed(sub=""), "claim"),
    "with a list as person": (signed(sub=["42"]), "claim"),
    "with a NUL in the person": (signed(sub="4\0002"), "claim"),
    "with a lone surrogate in the person": (signed(sub="4\ud8002"), "claim"),
    "not valid yet": (signed(nbf=datetime.now(UTC) + timedelta(hours=1)), "not_yet_valid"),
    "with an expiry beyond time": (signed(exp=10**18), "malformed"),
    "unsigned": (unsigned, "algorithm"),
    "signed with another key": (with_other_key, "signature"),
    "signed with another algorithm": (with_other_algorithm, "algorithm"),
    "with changed contents": (with_changed_person, "signature"),
    "of a browser session": (of_a_session, "audience"),
    "no token at all": (lambda settings: "abc", "malformed"),
    "far too long": (lambda settings: "a" * 5000, "malformed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_is_refused_when_it_is(case, client, company, settings):
    company.person("42")
    forge, reason = REFUSED[case]
    token = forge(settings)

    answer = client.get(UNREAD, headers={"Authorization": f"Bearer {token}"})

    assert answer.status_code == 401
    assert answer.json["error"]["code"] == "unauthorized"
    assert answer.json["error"]["details"]["reason"] == reason
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="notifications", error="invalid_token"'
    assert token not in answer.get_data(as_text=True)


@pytest.mark.parametrize("header", ["Basic NDI6eA==", "Bearer", "Bearer ", "token"])
def test_another_kind_of_authorization_is_refused(header, client, company):
    company.person("42")
    answer = client.get(UNREAD, headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json["error"]["message"] == "Authorization: expected `Bearer <token>`"


def test_no_token_is_refused_and_says_what_is_expected(client):
    answer = client.get(UNREAD)
    assert answer.status_code == 401
    assert answer.json["error"]["details"] == {"reason": "missing"}
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="notifications"'


def test_a_good_token_lets_in(client, company):
    company.person("42")
    answer = client.get(UNREAD, headers=company.bearer("42"))
    assert (answer.status_code, answer.json["unread_count"]) == (200, 0)


def test_a_person_nobody_recorded_is_refused(client, company):
    answer = client.get(UNREAD, headers=company.bearer("42"))
    assert answer.status_code == 401
    assert answer.json["error"]["details"] == {"reason": "unknown_person"}


def test_a_deactivated_person_is_refused_with_a_token_that_was_good(client, company):
    company.person("42")
    headers = company.bearer("42")
    assert client.get(UNREAD, headers=headers).status_code == 200
    with transaction(company.settings) as session:
        session.execute(text("UPDATE users SET is_active = false"))

    answer = client.get(UNREAD, headers=headers)

    assert answer.status_code == 401
    assert answer.json["error"]["details"] == {"reason": "deactivated"}


def test_the_person_may_stand_in_another_claim_as_a_number(settings):
    changed = settings.model_copy(update={"jwt_person_claim": "user_id"})
    token = jwt.encode({**claims_of(settings, sub=None), "user_id": 42}, settings.signing_key(), algorithm="HS256")
    assert verify_token(changed, token).person == "42"


def test_a_token_lives_as_long_as_was_asked(settings):
    claims: Claims = verify_token(settings, issue_token(settings, "42", lifetime_seconds=60))
    assert 55 < (claims.expires_at - datetime.now(UTC)).total_seconds() <= 60


def test_roles_come_from_the_database_and_are_gone_at_once(client, company):
    company.person("7", "role_rh", "stage_3")
    headers = company.bearer("7")
    body = {"target_roles": ["rh"], "title": "T", "message": "M"}
    assert client.post("/api/notifications/send-role-notification/", json=body, headers=headers).status_code == 202
    with transaction(company.settings) as session:
        session.execute(text("DELETE FROM memberships"))

    answer = client.post("/api/notifications/send-role-notification/", json=body, headers=headers)

    assert answer.status_code == 403
    assert answer.json["error"]["details"] == {"roles": ["admin", "rh"]}
    assert company.count("notification_events") == 1
