"""Deliveries over HTTP: admins look, and have one sent again; nobody else learns of them."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.redis import connect
from shared.tasks import DELIVERIES

ADDRESS = "/api/notifications/deliveries/"
MAKE = text("""
    INSERT INTO deliveries (event_id, recipient_id, channel, status, reason, attempts, error)
    SELECT :event, (SELECT id FROM users WHERE external_id = :person), :channel, :status, :reason, 8, 'what it said' RETURNING id
""")


@pytest.fixture
def made(company, settings):
    """A failed mail, a sent mail, a waiting webhook: their ids, oldest first."""
    company.person("ann", "role_admin")
    company.person("sam", "role_stagiaire")
    event = company.notify("sam", "ann")
    with transaction(settings) as session:
        return event, [
            session.scalar(
                MAKE, {"event": event, "person": person, "channel": channel, "status": status, "reason": reason}
            )
            for person, channel, status, reason in (
                ("sam", "email", "failed", "refused"),
                ("ann", "email", "sent", None),
                (None, "webhook", "pending", None),
            )
        ]


@pytest.fixture
def ask(client, company):
    return lambda query="", who="ann": client.get(ADDRESS + query, headers=company.bearer(who))


def ids(answer):
    return [row["id"] for row in answer.json["results"]]


def test_the_newest_come_first_with_all_that_is_known(made, ask):
    event, (failed, sent, waiting) = made
    answer = ask()
    assert ids(answer) == [waiting, sent, failed]
    assert answer.json["next"] is None
    shown = answer.json["results"][2]
    assert {name: shown[name] for name in ("event_id", "recipient", "channel", "status", "reason", "attempts", "error")} == {
        "event_id": event, "recipient": "sam", "channel": "email", "status": "failed", "reason": "refused", "attempts": 8, "error": "what it said",
    }  # fmt: skip
    assert answer.json["results"][0]["recipient"] is None
    assert answer.json["results"][0]["next_attempt_at"].endswith("Z")


def test_filters_narrow_the_list(made, ask):
    event, (failed, sent, waiting) = made
    assert ids(ask("?status=failed")) == [failed]
    assert ids(ask("?channel=email")) == [sent, failed]
    assert ids(ask(f"?event={event}&status=pending")) == [waiting]
    assert ids(ask("?event=1")) == []


def test_pages_follow_each_other(made, ask):
    first = ask("?page_size=2&channel=email")
    second = ask("?page_size=1")
    third = ask(second.json["next"].partition("/deliveries/")[2])
    assert first.json["next"] is None
    assert ids(second) + ids(third) == [made[1][2], made[1][1]]


@pytest.mark.parametrize(
    "query",
    [
        "?status=lost",
        "?channel=pigeon",
        "?event=x",
        "?cursor=-1",
        "?page_size=1000",
        "?states=failed",
        "?status=failed&status=sent",
    ],
)
def test_a_wrong_parameter_is_refused_by_name(made, ask, query):
    answer = ask(query)
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "invalid_input"


def test_a_failed_one_is_sent_again_from_the_first_try_on(made, client, company, settings):
    failed = made[1][0]
    answer = client.post(f"{ADDRESS}{failed}/replay/", headers=company.bearer("ann"))
    assert answer.status_code == 202
    assert {name: answer.json[name] for name in ("id", "status", "reason", "attempts", "error")} == {
        "id": failed,
        "status": "pending",
        "reason": None,
        "attempts": 0,
        "error": None,
    }
    with connect(settings) as redis:
        assert redis.llen(DELIVERIES) == 1
    with transaction(settings) as session:
        assert session.execute(
            text("SELECT actor, action, target FROM audit_log WHERE action LIKE 'delivery.%'")
        ).one()[1:] == ("delivery.replay", str(failed))


def test_one_that_was_sent_is_not_sent_again(made, client, company, settings):
    sent = made[1][1]
    answer = client.post(f"{ADDRESS}{sent}/replay/", headers=company.bearer("ann"))
    assert answer.status_code == 409
    assert answer.json["error"]["details"]["status"] == "sent"
    assert company.count("audit_log") == 0


@pytest.mark.parametrize(("which", "status"), [("99999999", 404), ("x", 400), ("0", 400), (str(1 << 63), 400)])
def test_one_that_is_not_there_is_said_so(made, client, company, which, status):
    assert client.post(f"{ADDRESS}{which}/replay/", headers=company.bearer("ann")).status_code == status


def test_only_admins_look_and_replay(made, client, company, ask):
    assert ask(who="sam").status_code == 403
    assert client.post(f"{ADDRESS}{made[1][0]}/replay/", headers=company.bearer("sam")).status_code == 403
    assert client.get(ADDRESS).status_code == 401
