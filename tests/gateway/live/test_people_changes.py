"""What changes about a person reaches their open connections; what they read in one tab is read in all."""

from __future__ import annotations

import httpx
from sqlalchemy import text

from shared.database import transaction
from shared.topics import PeopleMessage
from tests.system import wait_until


def change(worker, *statements, **values):
    with transaction(worker.settings) as session:
        for statement in (*statements, "UPDATE users SET changed_xid = pg_current_xact_id() WHERE id = :id"):
            session.execute(text(statement), values)


def test_a_deactivated_person_is_closed_for_good(gateway, company, worker):
    user_id, _ = company.people(["1", "2"])
    with gateway.connect(company.token("1")) as client, gateway.connect(company.token("2")) as other:
        change(worker, "UPDATE users SET is_active = false WHERE id = :id", id=user_id)
        worker.publish(PeopleMessage())
        assert client.wait_closed() == 4503
        other.settle()
    with gateway.connect() as client:
        client.send(type="authenticate", token=company.token("1"))
        assert client.wait_closed() == 4503


def test_a_new_group_reaches_the_open_connection_once(gateway, company, worker):
    user_id = company.person("1", "role_rh")
    company.groups("stage_7")
    with gateway.connect(company.token("1")) as client:
        change(worker, "INSERT INTO memberships VALUES ('stage_7', :id)", id=user_id)
        worker.publish(PeopleMessage())
        state = client.wait_for("state", lambda frame: "groups" in frame)
        assert state["groups"] == ["user_1", "role_rh", "stage_7"]
        assert state["user"]["id"] == "1"
        for _ in range(3):  # more readings of the tail
            worker.publish(PeopleMessage())
            worker.send([user_id])
            client.wait_for("notification")
        client.settle()
        assert len([frame for frame in client.collect("state") if "groups" in frame]) == 1


def test_a_change_that_no_message_announced_is_found(start_gateway, company, worker):
    gateway = start_gateway(limits={"tail_seconds": 0.2})
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        change(worker, "UPDATE users SET name = 'Neu' WHERE id = :id", id=user_id)
        assert client.wait_for("state", lambda frame: "user" in frame)["user"]["name"] == "Neu"


def test_read_in_one_tab_is_read_in_the_other(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as one, gateway.connect(company.token("1")) as two:
        event_ids = [worker.send([user_id]) for _ in range(3)]
        for client in (one, two):
            wait_until(
                lambda c=client: c.settle() and c.collect("state") and c.collect("state")[-1]["unread_count"] == 3,
                "3 unread",
            )
        one.send(type="read", ids=event_ids[:2])
        for client in (one, two):
            state = client.wait_for("state", lambda frame: "read" in frame)
            assert sorted(state["read"]) == event_ids[:2]
            assert state["unread_count"] == 1
        one.send(type="seen", ids=event_ids)
        assert two.wait_for("state", lambda frame: "seen" in frame)["seen"] == event_ids[2:]
    versions = [frame["version"] for frame in two.collect("state")]
    assert versions == sorted(versions)


def test_what_rest_changes_reaches_the_open_tabs(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        event_id = worker.send([user_id])
        client.wait_for("notification")
        answer = httpx.post(
            f"{gateway.base_url}/api/notifications/notifications/{event_id}/read/", headers=company.bearer("1")
        )
        assert answer.status_code == 200
        state = client.wait_for("state", lambda frame: "read" in frame)
        assert (state["read"], state["unread_count"]) == ([event_id], 0)


def test_someone_elses_notification_is_not_marked(gateway, company, worker):
    mine, theirs = company.people(["1", "2"])
    with gateway.connect(company.token("1")) as thief, gateway.connect(company.token("2")) as owner:
        event_id = worker.send([theirs])
        owner.wait_for("notification")
        thief.send(type="read", ids=[event_id])
        own = worker.send([mine])
        thief.send(type="read", ids=[own])
        assert thief.wait_for("state", lambda frame: "read" in frame)["read"] == [own]
        owner.settle()
        assert not [frame for frame in owner.collect("state") if "read" in frame]
        with transaction(worker.settings) as session:
            assert (
                session.scalar(text("SELECT read_at FROM notifications WHERE recipient_id = :id"), {"id": theirs})
                is None
            )
