"""The page at `/`, and who gets the demonstration: it hands out tokens that are real."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from gateway.app import create_app
from shared.seed import seed_demo
from shared.settings import Settings
from shared.tokens import verify_token
from tests.company import Company

LOCAL = {"Host": "localhost:8000"}


@pytest.fixture
def demo(settings: Settings, client: FlaskClient) -> FlaskClient:
    """A gateway whose company is the demonstration's."""
    seed_demo(settings)
    return client


@pytest.fixture
def off(settings: Settings) -> Iterator[FlaskClient]:
    """A gateway with the demonstration switched off."""
    app: Flask = create_app(settings.model_copy(update={"demo": False}))
    with app.test_client() as client:
        yield client


def test_the_demonstration_shows_one_person_of_each_role_with_a_token_that_works(
    demo: FlaskClient, settings: Settings
) -> None:
    answer = demo.get("/api/demo/", headers=LOCAL)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    people = answer.json["people"]
    assert [person["role"] for person in people] == ["stagiaire", "tuteur", "rh", "admin"]
    for person in people:
        claims = verify_token(settings, person["token"])
        assert claims.person == person["id"]
        shown = demo.get("/api/session/", headers={"Authorization": f"Bearer {person['token']}"})
        assert shown.json["user"]["roles"] == [person["role"]]
    assert answer.json["sender_token"] == people[3]["token"]
    assert answer.json["roles"] == ["stagiaire", "tuteur", "rh", "admin"]


def test_the_first_stage_is_shared_by_the_stagiaire_and_the_tuteur_shown(demo: FlaskClient) -> None:
    answer = demo.get("/api/demo/", headers=LOCAL).json
    stagiaire, tuteur = (person["name"] for person in answer["people"][:2])
    first, *others = answer["stages"]
    assert stagiaire in first["label"]
    assert tuteur in first["label"]
    assert others[-1]["label"].endswith("nobody shown here")


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"Host": "evil.example"}, "127.0.0.1"),
        ({"Host": "localhost.evil.example"}, "127.0.0.1"),
        ({"Host": "192.168.1.7:8000"}, "127.0.0.1"),
        (LOCAL, "192.168.1.7"),
        ({**LOCAL, "X-Forwarded-For": "203.0.113.9"}, "127.0.0.1"),
        ({**LOCAL, "Forwarded": "for=203.0.113.9"}, "127.0.0.1"),
        ({**LOCAL, "Sec-Fetch-Site": "cross-site"}, "127.0.0.1"),
        ({**LOCAL, "Sec-Fetch-Site": "same-site"}, "127.0.0.1"),
    ],
)
def test_nobody_but_a_page_of_ours_on_this_machine_gets_the_tokens(
    demo: FlaskClient, headers: dict[str, str], address: str
) -> None:
    answer = demo.get("/api/demo/", headers=headers, environ_overrides={"REMOTE_ADDR": address})
    assert answer.status_code == 404
    assert "token" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_every_name_of_this_machine_is_fine(demo: FlaskClient, host: str) -> None:
    headers = {"Host": host, "Sec-Fetch-Site": "same-origin"}
    assert demo.get("/api/demo/", headers=headers).status_code == 200


def test_switched_off_there_are_no_tokens_and_the_page_is_the_plain_one(off: FlaskClient) -> None:
    assert off.get("/api/demo/", headers=LOCAL).status_code == 404
    page = off.get("/", headers=LOCAL)
    assert page.status_code == 200
    assert "/static/home.js" in page.text


def test_before_the_company_is_in_the_demonstration_says_how_to_put_it_in(
    company: Company, client: FlaskClient
) -> None:
    company.person("1", "role_stagiaire")
    answer = client.get("/api/demo/", headers=LOCAL)
    assert answer.status_code == 503
    assert "stagebloom seed --demo" in answer.json["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "app.example.com"])
def test_both_pages_run_no_inline_code_and_let_nobody_frame_them(client: FlaskClient, host: str) -> None:
    page = client.get("/", headers={"Host": host})
    policy: dict[str, Any] = dict(
        part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"
    for forbidden in ("<style", "style=", "onclick", "onerror", "<script>", "//cdn", "https://"):
        assert forbidden not in page.text


def test_modules_come_as_javascript_and_are_checked_for_newer_ones(client: FlaskClient) -> None:
    answer = client.get("/static/client.js")
    assert answer.mimetype in ("text/javascript", "application/javascript")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert client.get("/static/../app.py").status_code == 404
