"""Refusals in the audit log: each kind once with a count, and never more rows than a bound, however many come."""

from __future__ import annotations

import pytest

from gateway.app import create_app
from gateway.refusals import MAX_KEPT, MAX_ROWS, Refusal, Refusals
from producer import Directory
from shared.audit import Filters, list_records
from shared.database import transaction

BROADCAST = "/api/notifications/send-broadcast/"


@pytest.fixture
def served(settings, clean):
    """An app of this test's own, so that nobody else's refusals are in it."""
    return create_app(settings)


def rows(settings):
    with transaction(settings) as session:
        return [(row.action, row.actor, row.target, row.details) for row in list_records(session, Filters(), 100)[0]]


def test_equal_refusals_are_one_row_with_their_number(served, company, settings):
    company.person("sam", "role_stagiaire")
    for _ in range(3):
        served.test_client().post(BROADCAST, json={}, headers=company.bearer("sam"))
    served.extensions["refusals"].flush()
    ((action, actor, target, details),) = rows(settings)
    assert (action, actor, target, details["count"]) == (
        "permission.refused",
        "user_sam",
        "POST /api/notifications/send-broadcast/",
        3,
    )
    assert "admin" in details["reason"]


def test_credentials_that_are_bad_are_there_and_those_that_are_only_old_are_not(served, company, settings):
    client = served.test_client()
    company.person("eve", is_active=False)
    client.get("/api/session/")
    client.get("/api/session/", headers={"Authorization": f"Bearer {company.token('eve', lifetime_seconds=-5)}"})
    client.get("/api/session/", headers=company.bearer("eve"))
    client.get("/api/session/", headers={"Authorization": "Bearer forged"})
    served.extensions["refusals"].flush()
    assert sorted((action, actor, details["reason"]) for action, actor, _, details in rows(settings)) == [
        ("credentials.refused", "nobody", "malformed"),
        ("credentials.refused", "user_eve", "deactivated"),
    ]


def refusal(n):
    return Refusal("permission.refused", f"user_{n}", "10.0.0.1", "GET /x/", "role")


def test_an_old_token_does_not_bring_back_the_id_of_who_was_erased(served, company, settings):
    company.person("eve")
    bearer = company.bearer("eve")
    Directory().erase(["eve"])
    assert served.test_client().get("/api/session/", headers=bearer).status_code == 401
    served.extensions["refusals"].flush()
    found = {action: (actor, details) for action, actor, _, details in rows(settings)}
    assert found["credentials.refused"] == ("unknown person", {"count": 1, "reason": "unknown_person"})


def test_a_flood_of_different_ones_writes_a_bounded_number_of_rows(company, settings):
    company.person("7")
    refusals = Refusals(settings)
    for n in range(MAX_KEPT * 2):
        refusals.count(refusal(n))
    refusals.count(refusal(7))
    refusals.flush()
    found = rows(settings)
    assert len(found) == MAX_ROWS + 1
    assert sum(details["count"] for *_, details in found) == MAX_KEPT * 2 + 1
    assert ("permission.refused", "user_7", "GET /x/", {"count": 2, "reason": "role"}) in found
    refusals.flush()
    assert len(rows(settings)) == MAX_ROWS + 1


def test_what_the_database_could_not_take_is_written_later_within_the_same_bounds(settings, clean, closed_port):
    away = Refusals(settings.model_copy(update={"database_url": f"postgresql+psycopg2://x@127.0.0.1:{closed_port}/x"}))
    for n in range(MAX_KEPT):
        away.count(refusal(n))
    away.flush()
    for n in range(MAX_KEPT):
        away.count(refusal(MAX_KEPT + n))
    away._settings = settings
    away.flush()
    assert sum(details["count"] for *_, details in rows(settings)) == MAX_KEPT * 2
