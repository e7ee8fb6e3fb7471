"""Pages of other origins: those that are allowed, by bearer token only."""

from __future__ import annotations

import pytest

from gateway.app import create_app

LIST = "/api/notifications/notifications/"
FRIEND, STRANGER = "https://app.example.test", "https://evil.example.test"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.fixture
def shared_app(settings, clean):
    return create_app(settings.model_copy(update={"allowed_origins": (FRIEND,)})).test_client()


def test_an_allowed_page_may_ask_first_and_read_the_answer(shared_app, company):
    company.person("42")
    asked = shared_app.options(LIST, headers={"Origin": FRIEND, **PREFLIGHT})
    assert asked.status_code == 200
    assert asked.headers["Access-Control-Allow-Origin"] == FRIEND
    assert "Authorization" in asked.headers["Access-Control-Allow-Headers"]
    answer = shared_app.get(LIST, headers={"Origin": FRIEND, **company.bearer("42")})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, FRIEND)
    refused = shared_app.get(LIST, headers={"Origin": FRIEND})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, FRIEND)


def test_cookies_are_never_allowed_and_caches_keep_origins_apart(shared_app):
    for origin in (FRIEND, STRANGER):
        answer = shared_app.get(LIST, headers={"Origin": origin})
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.headers["Vary"]


def test_another_page_is_told_nothing(shared_app, client):
    for gateway, origin in ((shared_app, STRANGER), (client, FRIEND)):  # `client` allows no other origin
        for answer in (
            gateway.get(LIST, headers={"Origin": origin}),
            gateway.options(LIST, headers={"Origin": origin, **PREFLIGHT}),
        ):
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_only_the_api_is_for_others(shared_app):
    assert "Access-Control-Allow-Origin" not in shared_app.get("/healthz", headers={"Origin": FRIEND}).headers
