"""Tickets: good once, for their person, for seconds."""

from __future__ import annotations

import pytest

from gateway.auth import Authenticator
from shared.errors import Unauthorized, Unavailable
from shared.redis import connect
from shared.settings import Settings

TICKET = "/api/notifications/ticket/"


@pytest.fixture
def authenticator(settings: Settings) -> Authenticator:
    return Authenticator(settings)


def test_a_ticket_proves_what_the_token_proved_once(client, company, authenticator, settings):
    company.person("42")
    token = company.token("42")
    answer = client.post(TICKET, headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json["expires_in_seconds"]) == (201, 30)

    claims = authenticator.redeem_ticket(answer.json["ticket"])

    assert (claims.person, claims.expires_at) == ("42", authenticator.verify_token(token).expires_at)
    with pytest.raises(Unauthorized, match="unknown, used or expired"):
        authenticator.redeem_ticket(answer.json["ticket"])


def test_a_ticket_is_gone_after_its_seconds(client, company, settings):
    company.person("42")
    ticket = client.post(TICKET, headers=company.bearer("42")).json["ticket"]
    with connect(settings) as redis:
        (key,) = redis.keys(f"*{ticket}*")
        assert 28 <= redis.ttl(key) <= 30


def test_a_ticket_does_not_outlive_its_token(client, company, settings):
    company.person("42")
    answer = client.post(TICKET, headers={"Authorization": f"Bearer {company.token('42', 5)}"})
    assert answer.json["expires_in_seconds"] <= 5


@pytest.mark.parametrize("ticket", ["", "x", "a" * 43, "*" * 43, "a" * 44, 7, None, ["a" * 43], {"$": 1}])
def test_anything_else_is_no_ticket(ticket, authenticator, settings):
    with pytest.raises(Unauthorized):
        authenticator.redeem_ticket(ticket)


def test_without_redis_a_ticket_is_unavailable_and_the_door_says_so(settings, company, closed_port):
    from gateway.app import create_app

    company.person("42")
    away = create_app(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{closed_port}/0"}))
    answer = away.test_client().post(TICKET, headers=company.bearer("42"))
    assert (answer.status_code, answer.json["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    with pytest.raises(Unavailable):
        away.extensions["authenticator"].redeem_ticket("a" * 43)
