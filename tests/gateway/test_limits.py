"""How much one person may send and ask: refused beyond it, with when to come again; others are not touched."""

from __future__ import annotations

import logging

import pytest

from gateway.app import create_app
from gateway.limits import send_limit
from gateway.people import Person
from shared.settings import load_settings

BROADCAST = "/api/notifications/send-broadcast/"
ROLES = "/api/notifications/send-role-notification/"
EVENTS = "/api/notifications/events/"
INBOX = "/api/notifications/notifications/"
TEXT = {"title": "T", "message": "M"}


@pytest.fixture
def limited(settings, company):
    """A gateway where admins may send 5 times a second, and anyone may ask 20 times."""
    company.person("ann", "role_admin")
    company.person("amy", "role_admin")
    return create_app(settings.model_copy(update={"send_limits": {"admin": 5, "*": 2}, "api_limit": 20})).test_client()


def statuses(times, call):
    return [call().status_code for _ in range(times)]


def test_who_sends_too_fast_is_told_when_to_come_again_and_others_send_on(limited, company):
    answers = [limited.post(BROADCAST, json=TEXT, headers=company.bearer("ann")) for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers[:5]] == [202] * 5
    assert refused
    assert refused[0].json["error"]["code"] == "rate_limited"
    assert int(refused[0].headers["Retry-After"]) == refused[0].json["error"]["details"]["retry_after_seconds"] >= 1
    assert company.count("notification_events") == company.count("audit_log") == len(answers) - len(refused)
    assert limited.post(BROADCAST, json=TEXT, headers=company.bearer("amy")).status_code == 202


def test_every_way_of_sending_counts_together(limited, company):
    company.groups("role_rh")
    calls = [
        (BROADCAST, TEXT),
        (ROLES, {**TEXT, "target_roles": ["rh"]}),
        (EVENTS, {**TEXT, "event_type": "system"}),
    ] * 3
    answers = [limited.post(address, json=body, headers=company.bearer("ann")).status_code for address, body in calls]
    assert 429 in answers[5:]


def test_who_asks_too_much_is_refused_too(limited, company):
    assert 429 in statuses(40, lambda: limited.get(INBOX, headers=company.bearer("ann")))
    assert limited.get(INBOX, headers=company.bearer("amy")).status_code == 200


def test_two_gateways_count_together(limited, settings, company):
    other = create_app(settings.model_copy(update={"send_limits": {"admin": 5}})).test_client()
    answers = [
        gateway.post(BROADCAST, json=TEXT, headers=company.bearer("ann")).status_code
        for _ in range(5)
        for gateway in (limited, other)
    ]
    assert answers.count(429) >= 3


def test_a_service_is_never_refused_for_its_pace(limited, company):
    headers = company.service("billing")
    assert (
        statuses(30, lambda: limited.post(EVENTS, json={**TEXT, "event_type": "system"}, headers=headers)) == [202] * 30
    )


def test_without_redis_sends_go_through_and_the_log_says_so(settings, company, closed_port, caplog):
    company.person("ann", "role_admin")
    away = settings.model_copy(
        update={
            "redis_url": f"redis://127.0.0.1:{closed_port}/0",
            "broker_url": settings.broker,
            "send_limits": {"admin": 1},
        }
    )
    client = create_app(away).test_client()
    with caplog.at_level(logging.WARNING):
        assert statuses(5, lambda: client.post(BROADCAST, json=TEXT, headers=company.bearer("ann"))) == [202] * 5
    assert sum("limits_not_counted" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("roles", "number"), [(["admin", "rh"], 100), (["rh"], 20), (["tuteur"], 7), (["tuteur", "robot"], 0), ([], 0)]
)
def test_the_highest_number_of_a_persons_roles_counts(roles, number):
    settings = load_settings({"SEND_LIMITS": "admin=100, rh=20, *=7, robot=0"})
    person = Person(1, "1", "", None, None, True, (), tuple(roles))
    assert send_limit(settings, person) == number
