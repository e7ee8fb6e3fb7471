"""Four people with four roles, each on a real WebSocket: who gets what, end to end."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import httpx

from producer import Directory, NotificationService, group, role, user
from tests.company import Company
from tests.live_client import LiveClient, connect
from tests.system import System

ROLES = ("stagiaire", "tuteur", "rh", "admin")


def titles(client: LiveClient) -> list[str]:
    """What a person was shown, in order; everything sent before now is in it."""
    client.settle()
    return client.titles()


def inbox(system: System, company: Company, person: str, path: str = "", **query: Any) -> Any:
    address = f"{system.base_url}/api/notifications/notifications/{path}"
    answer = httpx.get(address, params=query, headers=company.bearer(person))
    assert answer.status_code == 200, answer.text
    return answer.json()


def hire(company: Company) -> None:
    for name in ROLES:
        company.person(name, f"role_{name}")


def test_an_event_reaches_the_roles_it_names_and_no_one_else(system: System, company: Company) -> None:
    hire(company)
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(connect(system.base_url, company.token(name))) for name in ROLES}
        sent = NotificationService().send_role_notifications(
            ["rh", "admin"], "Réunion à 14 h", "Salle Éluard", "warning", data={"room": 7}
        )
        for name in ("rh", "admin"):
            frame = sockets[name].wait_for("role_notification")["notification"]
            assert (frame["id"], frame["title"], frame["message"], frame["notification_type"]) == (
                sent.id,
                "Réunion à 14 h",
                "Salle Éluard",
                "warning",
            )
            assert (frame["data"], frame["is_read"]) == ({"room": 7}, False)
            assert sockets[name].wait_for("state", lambda frame: frame["unread_count"] == 1)
            assert [one["id"] for one in inbox(system, company, name)["results"]] == [sent.id]
            assert inbox(system, company, name, "unread-count/")["unread_count"] == 1
        for name in ("stagiaire", "tuteur"):
            assert titles(sockets[name]) == []
            assert inbox(system, company, name)["results"] == []
            assert inbox(system, company, name, "unread-count/")["unread_count"] == 0


def test_someone_in_two_terms_gets_one_and_someone_excluded_gets_none(system: System, company: Company) -> None:
    hire(company)
    company.person("both", "role_rh", "role_tuteur", "stage_1")
    service = NotificationService()
    with ExitStack() as stack:
        both, rh, tuteur = (
            stack.enter_context(connect(system.base_url, company.token(name))) for name in ("both", "rh", "tuteur")
        )
        sent = service.create_event(
            "system",
            audience=(role("rh") | role("tuteur") & group("stage_1")).excluding(user("rh")),
            title="Une fois",
            message="M",
        )
        service.process_event(sent)
        both.wait_for("role_notification")
        for client, shown in ((both, ["Une fois"]), (rh, []), (tuteur, [])):
            assert titles(client) == shown


def test_the_way_someone_is_reached_decides_the_kind_of_frame(system: System, company: Company) -> None:
    company.person("1", "role_rh", "stage_1")
    service = NotificationService()
    with connect(system.base_url, company.token("1")) as client:
        service.send_role_notifications(["rh"], "role", "M")
        client.wait_for("role_notification")
        service.send_stage_notification(1, "stage", "M")
        client.wait_for("notification")
        service.send_broadcast("all", "À tous")
        assert client.wait_for("system_message")["message"] == "À tous"


def test_someone_who_was_offline_gets_it_on_resume_once(system: System, company: Company) -> None:
    hire(company)
    service = NotificationService()
    with connect(system.base_url, company.token("rh")) as client:
        cursor = client.collect("connected")[0]["cursor"]
    missed = service.send_role_notifications(["rh"], "Pendant l’absence", "M").wait()
    with connect(system.base_url, company.token("rh")) as client:
        client.send(type="resume", cursor=cursor)
        resumed = client.wait_for("resumed")
        live = service.send_role_notifications(["rh"], "En direct", "M")
        client.wait_for("role_notification", lambda frame: frame["notification"]["id"] == live.id)
        assert titles(client) == ["Pendant l’absence", "En direct"]
        assert resumed["replayed"] == 1
        replayed = client.collect("role_notification")[0]["notification"]
        assert replayed["id"] == missed.id
        fresh = inbox(system, company, "rh")["results"]
        assert replayed == fresh[1], "a replay shows what a fresh load shows"


def test_read_in_one_tab_is_read_in_the_other(system: System, company: Company) -> None:
    hire(company)
    with connect(system.base_url, company.token("rh")) as one, connect(system.base_url, company.token("rh")) as other:
        sent = NotificationService().send_role_notifications(["rh"], "T", "M")
        one.wait_for("role_notification")
        other.wait_for("state", lambda frame: frame["unread_count"] == 1)
        one.send(type="read", ids=[sent.id])
        state = other.wait_for("state", lambda frame: frame["unread_count"] == 0)
        assert state["read"] == [sent.id]
        answer = httpx.delete(
            f"{system.base_url}/api/notifications/notifications/{sent.id}/delete/", headers=company.bearer("rh")
        )
        assert answer.status_code == 200
        assert other.wait_for("state", lambda frame: "deleted" in frame)["deleted"] == [sent.id]


def test_a_role_given_or_taken_counts_for_open_connections(system: System, company: Company) -> None:
    hire(company)
    service, directory = NotificationService(), Directory()
    with connect(system.base_url, company.token("tuteur")) as client:
        directory.set_roles({"tuteur": ["rh"]})
        changed = client.wait_for("state", lambda frame: "groups" in frame)
        assert "role_rh" in changed["groups"]
        assert "role_tuteur" not in changed["groups"]
        service.send_role_notifications(["rh"], "neu", "M")
        client.wait_for("role_notification")
        directory.deactivate(["tuteur"])
        assert client.wait_closed() == 4503


def test_an_event_sent_over_http_reaches_its_roles(system: System, company: Company) -> None:
    hire(company)
    with connect(system.base_url, company.token("tuteur")) as client:
        answer = httpx.post(
            f"{system.base_url}/api/notifications/send-role-notification/",
            json={
                "target_roles": ["tuteur"],
                "title": "T",
                "message": "M",
                "notification_type": "success",
                "data": {"marker": "x1"},
            },
            headers=company.bearer("rh"),
        )
        assert answer.status_code == 202, answer.text
        frame = client.wait_for("role_notification")["notification"]
        assert (frame["id"], frame["data"]) == (answer.json()["event_id"], {"marker": "x1"})
