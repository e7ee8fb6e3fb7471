"""Services over HTTP: events of their own, people in bulk, and nobody's inbox."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.audit import Filters, list_records
from shared.database import transaction
from shared.models import NotificationEvent
from shared.services import disable_service
from tests.system import wait_until

EVENTS = "/api/notifications/events/"
PEOPLE = "/api/notifications/people/"
MEMBERSHIPS = "/api/notifications/memberships/"
EVENT = {"event_type": "stage_update", "event_data": {"stage_id": 3}, "title": "T", "message": "M"}


@pytest.fixture
def billing(company):
    """The headers of a service; there is a stage 3 with Sam in it."""
    company.person("sam", "role_stagiaire", "stage_3")
    return company.service("billing")


def members(settings, group):
    with transaction(settings) as session:
        return list(
            session.scalars(
                text("SELECT external_id FROM memberships JOIN users ON id = user_id WHERE group_name = :g ORDER BY 1"),
                {"g": group},
            )
        )


def audited(settings, action):
    with transaction(settings) as session:
        return [(row.actor, row.target, row.details) for row in list_records(session, Filters(action=action), 100)[0]]


def test_an_event_is_the_services_and_goes_to_whom_the_catalogue_says(client, billing, settings):
    answer = client.post(EVENTS, json=EVENT, headers=billing)
    assert answer.status_code == 202, answer.json
    assert answer.json["repeated"] is False
    with transaction(settings) as session:
        event = session.get(NotificationEvent, answer.json["event_id"])
    assert (event.source, event.source_user_id, event.audience) == ("service:billing", None, [["stage_3"]])
    assert event.data == {"stage_id": 3}
    ((actor, target, details),) = audited(settings, "event.create")
    assert (actor, target) == ("service:billing", str(event.id))
    assert details["audience"] == {"count": 1, "first": ["stage_3"]}
    assert "T" not in details.values()


def test_the_same_key_is_the_same_event_and_marked(client, billing, company):
    headers = {**billing, "Idempotency-Key": "order-7"}
    first, second = (client.post(EVENTS, json=EVENT, headers=headers).json for _ in range(2))
    assert second == {**first, "repeated": True}
    assert company.count("notification_events") == 1
    other = client.post(EVENTS, json={**EVENT, "title": "Other"}, headers=headers)
    assert (other.status_code, other.json["error"]["code"]) == (409, "conflict")


def test_everything_an_event_can_say_can_be_said(client, billing, company, settings):
    company.person("rob", "role_rh")
    body = {
        "event_type": "system", "target_roles": ["rh"], "audience": ["stage_3"], "exclude": ["user_rob"], "data": {"a": 1},
        "texts": {"fr": {"title": "T", "message": "M"}, "en": {"title": "t", "message": "m"}}, "notification_type": "warning",
        "category": "C", "link": "/x", "thread_key": "t", "priority": "critical", "source_user": "rob",
    }  # fmt: skip
    answer = client.post(EVENTS, json=body, headers=billing)
    assert answer.status_code == 202, answer.json
    with transaction(settings) as session:
        event = session.get(NotificationEvent, answer.json["event_id"])
    assert (event.audience, event.exclude, event.priority) == ([["role_rh"], ["stage_3"]], ["user_rob"], "critical")
    assert set(event.texts) == {"fr", "en"}
    assert event.source_user_id is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"event_type": None}, "event_type"),
        ({"event_type": "party"}, "event_type"),
        ({"data": {}}, "data"),
        ({"target_roles": []}, "audience"),
        ({"titel": "x"}, "field"),
    ],
)
def test_a_wrong_event_is_refused_by_field(change, field, client, billing, company):
    answer = client.post(EVENTS, json={**EVENT, **change}, headers=billing)
    assert (answer.status_code, answer.json["error"]["details"]["field"]) == (400, field)
    assert company.count("notification_events") == company.count("audit_log") == 0


def test_a_service_sees_its_own_events_and_admins_see_all(client, billing, company):
    company.person("ann", "role_admin")
    event_id = client.post(EVENTS, json=EVENT, headers=billing).json["event_id"]
    own = client.get(f"{EVENTS}{event_id}/", headers=billing).json
    assert (own["status"], own["source"], own["batches"]) == (
        "pending",
        "service:billing",
        {"total": 0, "stored": 0, "published": 0},
    )
    assert "texts" not in own
    assert client.get(f"{EVENTS}{event_id}/", headers=company.service("other")).status_code == 404
    assert client.get(f"{EVENTS}{event_id}/", headers=company.bearer("ann")).json == own
    assert client.get(EVENTS, headers=billing).status_code == 403


def test_admins_page_through_events_and_filter_them(client, company):
    company.person("ann", "role_admin")
    ids = [company.notify("ann") for _ in range(5)]
    seen, address = [], f"{EVENTS}?page_size=2&status=processed"
    while address:
        answer = client.get(address, headers=company.bearer("ann")).json
        seen += [event["id"] for event in answer["results"]]
        address = answer["next"]
    assert seen == sorted(ids, reverse=True)
    assert client.get(f"{EVENTS}?status=failed", headers=company.bearer("ann")).json["results"] == []
    for wrong in ("status=lost", "cursor=newer-5", "page=2", "cursor=x"):
        assert client.get(f"{EVENTS}?{wrong}", headers=company.bearer("ann")).status_code == 400, wrong


def test_an_event_of_a_service_reaches_its_people(system, company):
    import httpx

    company.person("sam", "role_stagiaire", "stage_3")
    headers = company.service("billing")
    event_id = httpx.post(system.base_url + EVENTS, json=EVENT, headers=headers).json()["event_id"]

    def is_published():
        event = httpx.get(f"{system.base_url}{EVENTS}{event_id}/", headers=headers).json()
        return (event["status"], event["recipient_count"], event["batches"]) == (
            "processed",
            1,
            {"total": 1, "stored": 1, "published": 1},
        )

    wait_until(is_published, "the event is published", explain=system.logs)


def test_people_are_added_changed_and_left_alone(client, billing, settings):
    people = [{"id": n, "name": f"P{n}", "email": f"{n}@example.test"} for n in range(1000)]
    assert client.put(PEOPLE, json={"people": people}, headers=billing).json == {"changed": 1000}
    people[7]["name"] = "Changed"
    assert client.post(PEOPLE, json={"people": people}, headers=billing).json == {"changed": 1}
    shown = client.get(f"{PEOPLE}7/", headers=billing).json
    assert shown == {
        "id": "7",
        "name": "Changed",
        "email": "7@example.test",
        "phone": None,
        "locale": None,
        "timezone": None,
        "is_active": True,
        "groups": [],
    }
    assert [
        (actor, details["count"], details["changed"]) for actor, _, details in audited(settings, "people.upsert")
    ] == [("service:billing", 1000, 1), ("service:billing", 1000, 1000)]
    assert client.get(f"{PEOPLE}nobody/", headers=billing).status_code == 404
    assert client.get(f"{PEOPLE}%00/", headers=billing).status_code == 404


def test_the_deactivated_get_in_no_more_until_they_are_activated(client, billing, company):
    assert client.post(PEOPLE + "deactivate/", json={"people": ["sam"]}, headers=billing).json == {"changed": 1}
    inbox = "/api/notifications/notifications/"
    assert client.get(inbox, headers=company.bearer("sam")).status_code == 401
    client.put(PEOPLE, json={"people": [{"id": "sam", "is_active": True}]}, headers=billing)
    assert client.get(inbox, headers=company.bearer("sam")).status_code == 200


def test_groups_and_memberships_change_in_bulk_and_as_a_whole(client, billing, company, settings):
    company.people(["1", "2", "3"])
    assert client.post("/api/notifications/groups/", json={"groups": ["stage_8", "stage_3"]}, headers=billing).json == {
        "changed": 1
    }
    body = {
        "add": {"stage_8": ["1", 2], "stage_9": ["1"]},
        "remove": {"stage_3": ["sam"]},
        "sync": {"role_rh": ["2", "3"]},
    }
    assert client.post(MEMBERSHIPS, json=body, headers=billing).json == {"changed": 5}
    assert [members(settings, name) for name in ("stage_8", "stage_9", "stage_3", "role_rh")] == [
        ["1", "2"],
        ["1"],
        [],
        ["2", "3"],
    ]
    answer = client.post(
        MEMBERSHIPS, json={"add": {"stage_8": ["3"]}, "sync": {"role_rh": ["nobody"]}}, headers=billing
    )
    assert (answer.status_code, answer.json["error"]["details"]["unknown"]) == (400, ["nobody"])
    assert members(settings, "stage_8") == ["1", "2"]
    assert len(audited(settings, "memberships.change")) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        ("people/", {}, 400, "people"),
        ("people/", {"people": []}, 400, "people"),
        ("people/", {"people": [7]}, 400, "people[0]"),
        ("people/", {"people": [{"name": "x"}]}, 400, "people[0]"),
        ("people/", {"people": [{"id": "1"}, {"id": "2", "nam": "x"}]}, 400, "people[1]"),
        ("people/", {"people": [{"id": "2", "name": 7}]}, 400, "people[0].name"),
        ("people/", {"people": [{"id": None}]}, 400, "people[0]"),
        ("people/", {"people": [{"id": True}]}, 400, "people[0].id"),
        ("people/", {"people": [{"id": "1", "email": "ann"}]}, 400, "email"),
        ("people/", {"people": [{"id": "a b"}]}, 400, "id"),
        ("people/", {"people": [{"id": str(n)} for n in range(1001)]}, 413, "people"),
        ("people/deactivate/", {"people": ["nobody"]}, 400, "people"),
        ("people/deactivate/", {"people": [{}]}, 400, "person"),
        ("groups/", {"groups": ["user_7"]}, 400, "group"),
        ("groups/", {"groups": [7]}, 400, "group"),
        ("memberships/", {}, 400, "body"),
        ("memberships/", {"add": {"stage_3": "sam"}}, 400, "add.stage_3"),
        ("memberships/", {"add": {"user_7": ["sam"]}}, 400, "group"),
        ("memberships/", {"add": {"stage_3": ["sam"] * 1001}}, 413, "memberships"),
        ("memberships/", {"remove": {"stage_x": ["sam"]}}, 400, "group"),
        ("memberships/", {"sync": {f"stage_{n}": [] for n in range(101)}}, 413, "sync"),
    ],
)
def test_a_wrong_change_is_refused_by_field_and_nothing_is_changed(path, body, status, field, client, billing, company):
    answer = client.post("/api/notifications/" + path, json=body, headers=billing)
    assert (answer.status_code, answer.json["error"]["details"]["field"]) == (status, field), answer.json
    assert company.count("users") == 1
    assert company.count("audit_log") == 0


def test_a_permission_that_a_service_lacks_closes_the_door(client, company):
    company.person("sam", "stage_3")
    headers = company.service("reader", "people")
    assert client.post(EVENTS, json=EVENT, headers=headers).json["error"]["details"] == {"permission": "events"}
    assert client.get(PEOPLE + "sam/", headers=headers).status_code == 200


def test_a_disabled_service_and_a_made_up_key_are_refused(client, billing, settings):
    with transaction(settings) as session:
        disable_service(session, "billing")
    for headers, reason in ((billing, "deactivated"), ({"Authorization": "Bearer sbk_" + "a" * 43}, "unknown_service")):
        answer = client.post(EVENTS, json=EVENT, headers=headers)
        assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (401, reason)


def test_a_services_key_opens_no_inbox(client, billing):
    answer = client.get("/api/notifications/notifications/", headers=billing)
    assert (answer.status_code, answer.json["error"]["details"]["reason"]) == (403, "person_needed")
