"""The document's seven steps of "Manual Testing", on the whole system, by someone who knows only its doors.

People come in by `Directory` and over HTTP, look with WebSockets and REST; the rows are looked at with plain SQL.
Every step says who gets something, and who does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from producer import (
    Directory,
    NotificationService,
    Person,
    RoleNotificationHelper,
    notify_document_uploaded,
    notify_kpi_alert,
)
from shared.database import transaction
from shared.settings import Settings
from tests.company import Company
from tests.live_client import SHOWN, LiveClient, connect
from tests.system import System, wait_until

API = "/api/notifications/"
OWN = "notifications/"
ROLES = {"lea": "stagiaire", "marc": "tuteur", "ines": "rh", "omar": "admin"}
STAGE = ("lea", "marc")


class Office:
    """The people of ROLES at their browsers."""

    def __init__(self, system: System, company: Company) -> None:
        self.system, self.company = system, company
        self._http = httpx.Client(base_url=system.base_url + API)

    def ask(self, who: str | dict[str, str], path: str, method: str = "GET", status: int = 200, **options: Any) -> Any:
        """The answer to a person (or to a service's headers); of this status, and no other."""
        headers = self.company.bearer(who) if isinstance(who, str) else who
        answer = self._http.request(method, path, headers=headers, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    def inboxes(self, path: str = OWN, **query: Any) -> dict[str, list[str]]:
        """The titles each one's list (or search) shows, newest first."""
        return {who: [one["title"] for one in self.ask(who, path, params=query)["results"]] for who in ROLES}

    def wait_until_processed(self, events: int) -> None:
        done = "notification_events WHERE status = 'processed'"
        wait_until(lambda: self.company.count(done) == events, f"{events} events", explain=self.system.logs)

    def connect(self, who: str) -> LiveClient:
        return connect(self.system.base_url, self.company.token(who))

    def close(self) -> None:
        self._http.close()


@pytest.fixture
def empty_office(system: System, company: Company) -> Iterator[Office]:
    with closing(Office(system, company)) as found:
        yield found


@pytest.fixture
def office(empty_office: Office) -> Office:
    directory = Directory()
    directory.upsert_people([Person(id=who, name=who.title()) for who in ROLES])
    directory.set_roles({who: [role] for who, role in ROLES.items()})
    directory.add_members("stage_123", STAGE)
    return empty_office


@pytest.fixture
def sockets(office: Office) -> Iterator[dict[str, LiveClient]]:
    with ExitStack() as stack:
        yield {who: stack.enter_context(office.connect(who)) for who in ROLES}


def test_step_1_people_created_in_python_or_over_http_come_in_with_their_role_and_strangers_do_not(
    empty_office: Office, system: System, company: Company
) -> None:
    directory = Directory()
    directory.upsert_people([Person(id="lea", name="Léa"), Person(id="marc", name="Marc")])
    directory.set_roles({"lea": ["stagiaire"], "marc": ["tuteur"]})
    application = company.service("hr")
    people = [{"id": "ines", "name": "Inès"}, {"id": "omar", "name": "Omar"}]
    empty_office.ask(application, "people/", "POST", json={"people": people})
    memberships = {"role_rh": ["ines"], "role_admin": ["omar"], "stage_123": list(STAGE)}
    empty_office.ask(application, "memberships/", "POST", json={"add": memberships})

    for who, role in ROLES.items():
        groups = [f"user_{who}", f"role_{role}", *(["stage_123"] if who in STAGE else [])]
        with empty_office.connect(who) as socket:
            (welcome,) = socket.collect("connected")
        assert (welcome["user"]["id"], welcome["user"]["roles"], welcome["groups"]) == (who, [role], groups)
        assert empty_office.ask("omar", f"people/{who}/")["groups"] == groups[1:]
    empty_office.ask("stranger", OWN, status=401)
    with connect(system.base_url, headers=company.bearer("stranger")) as socket:
        assert socket.wait_closed() == 4501


def test_step_2_what_is_sent_to_a_role_reaches_it_by_every_door_and_nobody_sends_what_they_may_not(
    office: Office, company: Company
) -> None:
    helper = RoleNotificationHelper()
    helper.notify_stagiaires("Aux stagiaires", "M")
    helper.notify_management_team("À la direction", "M")
    send = {"message": "M", "notification_type": "warning"}
    body = {**send, "target_roles": ["tuteur"], "title": "Aux tuteurs"}
    office.ask("ines", "send-role-notification/", "POST", status=202, json=body)
    office.ask("omar", "send-broadcast/", "POST", status=202, json={**send, "title": "À tous"})
    office.wait_until_processed(4)

    refused = {**body, "title": "Refusé"}
    for who in ("lea", "marc"):
        office.ask(who, "send-role-notification/", "POST", status=403, json=refused)
    for who in ("lea", "marc", "ines"):
        office.ask(who, "send-broadcast/", "POST", status=403, json={**send, "title": "Refusé"})
    misspelled = office.ask(
        "ines", "send-role-notification/", "POST", 400, json={**refused, "target_roles": ["Tuteur"]}
    )
    assert "role_Tuteur" in misspelled["error"]["message"]

    assert {who: sorted(titles) for who, titles in office.inboxes().items()} == {
        "lea": ["Aux stagiaires", "À tous"],
        "marc": ["Aux tuteurs", "À tous"],
        "ines": ["À la direction", "À tous"],
        "omar": ["À la direction", "À tous"],
    }
    assert company.count("notification_events") == 4, "what was refused is nowhere"


def test_step_3_websockets_get_what_is_theirs_at_once_and_it_is_seen_who_is_connected(
    office: Office, sockets: dict[str, LiveClient]
) -> None:
    service = NotificationService()
    with office.connect("lea") as second_tab:
        tabs = {**sockets, "lea, again": second_tab}
        for send, kind, receivers in (
            (lambda: service.send_role_notifications(["stagiaire"], "Rôle", "M"), "role_notification", ["lea", "lea, again"]),
            (lambda: service.send_stage_notification(123, "Stage", "M"), "notification", ["lea", "lea, again", "marc"]),
            (lambda: service.send_notification("ines", "Pour Inès", "M"), "notification", ["ines"]),
            (lambda: service.send_broadcast("À tous", "M"), "system_message", list(tabs)),
        ):  # fmt: skip
            sent = send()
            for who in receivers:
                frame = tabs[who].wait_for(SHOWN)
                assert (frame["type"], frame["notification"]["id"]) == (kind, sent.id)
        for tab in tabs.values():
            tab.settle()
        assert {who: tab.titles() for who, tab in tabs.items()} == {
            "lea": ["Rôle", "Stage", "À tous"],
            "lea, again": ["Rôle", "Stage", "À tous"],
            "marc": ["Stage", "À tous"],
            "ines": ["Pour Inès", "À tous"],
            "omar": ["À tous"],
        }

        def connected(asked_by: str) -> list[str]:
            return sorted(one["user"]["id"] for one in office.ask(asked_by, "connections/status/")["results"])

        wait_until(
            lambda: connected("omar") == ["ines", "lea", "lea", "marc", "omar"],
            "all of them",
            explain=office.system.logs,
        )
        assert connected("lea") == ["lea", "lea"]
        assert connected("ines") == ["ines"], "who may send does not thereby see who is there"
    wait_until(lambda: connected("lea") == ["lea"], "the second tab is closed")


EVENT = text("""
    SELECT event_type, category, notification_type, texts, data, audience, status, recipient_count
    FROM notification_events WHERE id = :id
""")
PLANNED = text("SELECT unnest(recipient_ids) FROM event_batches WHERE event_id = :id AND stored_at IS NOT NULL")
STORED = text("""
    SELECT external_id, users.id, read_at IS NOT NULL, deleted_at IS NOT NULL
    FROM notifications JOIN users ON users.id = recipient_id WHERE event_id = :id ORDER BY external_id
""")


def test_step_4_the_database_holds_one_event_and_a_row_for_each_recipient_and_for_nobody_else(
    office: Office, settings: Settings
) -> None:
    data = {"stage_id": 123, "pages": 80}
    sent = RoleNotificationHelper().notify_stage_participants(123, "Rapport", "Déposé", "success", data=data).wait()
    office.ask("lea", f"{OWN}{sent.id}/read/", "POST")
    office.ask("marc", f"{OWN}{sent.id}/delete/", "DELETE")
    for who in ("ines", "omar"):
        office.ask(who, f"{OWN}{sent.id}/read/", "POST", status=404)

    with transaction(settings) as session:
        event = session.execute(EVENT, {"id": sent.id}).one()
        planned = sorted(session.scalars(PLANNED, {"id": sent.id}))
        stored = [tuple(row) for row in session.execute(STORED, {"id": sent.id})]
    words = {"fr": {"title": "Rapport", "message": "Déposé"}}
    assert tuple(event) == ("system", "SYSTEM", "success", words, data, [["stage_123"]], "processed", 2)
    assert [(who, read, deleted) for who, _, read, deleted in stored] == [("lea", True, False), ("marc", False, True)]
    assert planned == sorted(user_id for _, user_id, *_ in stored)


@pytest.fixture
def history(office: Office) -> list[int]:
    """An alert for tuteur and RH, a document for the stage and RH, a fault for the RH; each a moment after the other."""
    alert = notify_kpi_alert(123, "Présence sous le seuil", "warning").wait()
    document = notify_document_uploaded(123, "Mémoire d’été").wait()
    fault = NotificationService().send_role_notifications(["rh"], "Échec de l’export", "À refaire", "error").wait()
    return [alert.id, document.id, fault.id]


ALERT, DOCUMENT, FAULT = "Alerte KPI", "Document déposé", "Échec de l’export"


def test_step_5_filters_narrow_ones_own_list_and_never_show_anyone_elses(office: Office, history: list[int]) -> None:
    everything = {"lea": [DOCUMENT], "marc": [DOCUMENT, ALERT], "ines": [FAULT, DOCUMENT, ALERT], "omar": []}
    assert office.inboxes() == everything
    office.ask("ines", f"{OWN}{history[1]}/read/", "POST")
    of_the_document = office.ask("ines", f"{OWN}{history[1]}/")["created_at"]
    for query, shown in (
        ({"notification_type": "warning"}, {"marc": [ALERT], "ines": [ALERT]}),
        ({"notification_type": "error"}, {"ines": [FAULT]}),
        ({"category": "DOCUMENT_UPLOAD"}, {"lea": [DOCUMENT], "marc": [DOCUMENT], "ines": [DOCUMENT]}),
        ({"event_type": "kpi_alert"}, {"marc": [ALERT], "ines": [ALERT]}),
        ({"is_read": "true"}, {"ines": [DOCUMENT]}),
        ({"is_read": "false", "category": "DOCUMENT_UPLOAD"}, {"lea": [DOCUMENT], "marc": [DOCUMENT]}),
        ({"since": of_the_document}, {"lea": [DOCUMENT], "marc": [DOCUMENT], "ines": [FAULT, DOCUMENT]}),
        ({"until": of_the_document}, {"lea": [DOCUMENT], "marc": [DOCUMENT, ALERT], "ines": [DOCUMENT, ALERT]}),
    ):
        assert office.inboxes(**query) == {**dict.fromkeys(ROLES, []), **shown}, query  # noqa: RUF024
    office.ask("ines", OWN, status=400, params={"notification_type": "loud"})


def test_step_6_statistics_of_oneself_are_for_everyone_and_those_of_the_system_for_administrators(
    office: Office, history: list[int]
) -> None:
    office.ask("ines", f"{OWN}{history[0]}/read/", "POST")
    own = {who: office.ask(who, f"{OWN}statistics/") for who in ROLES}
    assert {who: (found["total"], found["unread"], found["read_rate"]) for who, found in own.items()} == {
        "lea": (1, 1, 0.0),
        "marc": (2, 2, 0.0),
        "ines": (3, 2, 0.3333),
        "omar": (0, 0, None),
    }
    assert {kind: found["total"] for kind, found in own["marc"]["by_type"].items()} == {"info": 1, "warning": 1}

    for who in ("lea", "marc", "ines"):
        office.ask(who, "system-stats/", status=403)
    expected = {"sent": 3, "stored": 6, "delivered": 0, "seen": 1, "read": 1, "deleted": 0}
    wait_until(
        lambda: office.ask("omar", "system-stats/")["total"] == expected, "the counts", explain=office.system.logs
    )
    found = office.ask("omar", "system-stats/")
    assert {role: counts["stored"] for role, counts in found["by_role"].items()} == {
        "stagiaire": 1,
        "tuteur": 2,
        "rh": 3,
    }
    assert {kind: counts["sent"] for kind, counts in found["by_type"].items()} == {"info": 1, "warning": 1, "error": 1}


def test_step_7_a_search_finds_words_of_title_and_message_whatever_their_accents_in_ones_own_inbox_only(
    office: Office, history: list[int]
) -> None:
    search = f"{OWN}search/"
    nothing: dict[str, list[str]] = {who: [] for who in ROLES}
    for query, shown in (
        ({"q": "memoire ETE"}, {"lea": [DOCUMENT], "marc": [DOCUMENT], "ines": [DOCUMENT]}),
        ({"q": "seuil"}, {"marc": [ALERT], "ines": [ALERT]}),
        ({"q": "echec"}, {"ines": [FAULT]}),
        ({"q": "echec seuil"}, {}),
        ({"q": "123", "notification_type": "info"}, {"lea": [DOCUMENT], "marc": [DOCUMENT], "ines": [DOCUMENT]}),
    ):
        assert office.inboxes(search, **query) == {**nothing, **shown}, query
    office.ask("ines", f"{OWN}{history[2]}/delete/", "DELETE")
    assert office.inboxes(search, q="echec") == nothing, "what is deleted is not found"
    assert office.inboxes(search, q="memoire")["ines"] == [DOCUMENT]
