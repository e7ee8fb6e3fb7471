"""Each call notifies exactly whom it names, through real workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from producer import NotificationService, SentEvent, everyone, group, role, user
from shared.errors import InvalidAudience, InvalidInput, TooLarge, UnknownGroup
from shared.settings import Settings
from tests.broken_broker import BrokerDoor
from tests.company import Company
from tests.system import System, wait_until


@pytest.fixture
def people(company: Company) -> Company:
    """1 and 2 are stagiaires, 3 a tuteur, 4 and 5 rh (5 also admin), 6 admin, 9 left the company."""
    company.person("1", "role_stagiaire", "stage_7", "entreprise_3")
    company.person("2", "role_stagiaire", "stage_8")
    company.person("3", "role_tuteur", "stage_7")
    company.person("4", "role_rh", "entreprise_3")
    company.person("5", "role_rh", "role_admin")
    company.person("6", "role_admin")
    company.person("9", "role_stagiaire", "stage_7", is_active=False)
    company.groups("stage_empty", "survey_1")
    return company


@pytest.fixture
def service(people: Company, settings: Settings) -> NotificationService:
    return NotificationService(settings=settings)


def reached(sent: SentEvent) -> list[str]:
    return sorted(notification.recipient.id for notification in sent)


WORDS = {"title": "Titre", "message": "Message"}
CALLS: list[tuple[str, Any, list[str]]] = [
    ("an id", lambda s: s.send_notification("1", **WORDS), ["1"]),
    ("a number", lambda s: s.send_notification(1, **WORDS), ["1"]),
    ("an object with an id", lambda s: s.send_notification(SimpleNamespace(id=1), **WORDS), ["1"]),
    ("somebody who left", lambda s: s.send_notification("9", **WORDS), []),
    (
        "several people, one twice",
        lambda s: s.send_bulk_notifications(["1", 3, "3", SimpleNamespace(id=6)], **WORDS),
        ["1", "3", "6"],
    ),
    ("a generator of people", lambda s: s.send_bulk_notifications((n for n in (1, 2)), **WORDS), ["1", "2"]),
    ("a role", lambda s: s.send_role_notifications(["stagiaire"], **WORDS), ["1", "2"]),
    ("two roles that share a person", lambda s: s.send_role_notifications(["rh", "admin"], **WORDS), ["4", "5", "6"]),
    ("roles without a person", lambda s: s.send_role_notifications(["rh"], exclude=["user_5"], **WORDS), ["4"]),
    ("everyone", lambda s: s.send_broadcast(**WORDS), ["1", "2", "3", "4", "5", "6"]),
    (
        "everyone without a role",
        lambda s: s.send_broadcast(exclude=[role("stagiaire"), "role_admin"], **WORDS),
        ["3", "4"],
    ),
    ("a stage", lambda s: s.send_stage_notification(7, **WORDS), ["1", "3"]),
    ("an empty stage", lambda s: s.send_stage_notification("empty", **WORDS), []),
]


@pytest.mark.parametrize(
    ("call", "expected"), [(call, expected) for _, call, expected in CALLS], ids=[name for name, _, _ in CALLS]
)
def test_whoever_is_named_and_nobody_else_is_notified(
    system: System, service: NotificationService, people: Company, call: Any, expected: list[str]
) -> None:
    sent = call(service)
    assert reached(sent) == expected
    assert len(sent) == people.count("notifications") == len(expected)
    assert sent.event.processed
    assert all(
        (one.title, one.message, one.notification_type, one.id) == ("Titre", "Message", "info", sent.id) for one in sent
    )


AUDIENCES: list[tuple[Any, list[str]]] = [
    ("role_rh & entreprise_3", ["4"]),
    (role("rh") & group("entreprise_3"), ["4"]),
    (role("rh") & group("entreprise_3") | user(1), ["1", "4"]),
    ((role("rh") | role("admin")).excluding(user("5")), ["4", "6"]),
    (everyone().excluding(role("rh"), role("stagiaire")), ["3", "6"]),
    (everyone() & role("tuteur"), ["3"]),
    ([user(1) & role("rh")], []),
    (["user_1", "stage_7", "user_1"], ["1", "3"]),
]


@pytest.mark.parametrize(("audience", "expected"), AUDIENCES, ids=lambda value: str(value)[:60])
def test_the_audience_algebra_finds_exactly_its_people(
    system: System, service: NotificationService, audience: Any, expected: list[str]
) -> None:
    event = service.create_event("system", audience=audience, **WORDS)
    assert reached(service.process_event(event)) == expected


def test_the_pipeline_of_the_specification_works_as_written(system: System, service: NotificationService) -> None:
    event = service.create_event(
        event_type="stage_update",
        event_data={"stage_id": 7, "status": "en_cours"},
        target_roles=["stagiaire", "tuteur"],
    )
    notifications = service.process_event(event)
    assert len(notifications) > 0
    assert event.processed == True
    assert sorted(one.recipient.role for one in notifications) == ["stagiaire", "stagiaire", "tuteur"]


def test_roles_and_audience_add_up_and_the_catalogue_decides_without_them(
    system: System, service: NotificationService
) -> None:
    data = {"stage_id": 7}
    both = service.create_event("stage_update", data, ["admin"], audience="user_2")
    assert reached(service.process_event(both)) == ["2", "5", "6"]
    assert reached(service.process_event(service.create_event("stage_update", data))) == ["1", "3"]
    assert reached(service.process_event(service.create_event("kpi_alert", data))) == ["3", "4", "5"]
    assert reached(service.process_event(service.create_event("stage_update", data, [], audience=["user_2"]))) == ["2"]


def test_everything_that_can_be_said_arrives(service: NotificationService) -> None:
    options: dict[str, Any] = {
        "event_type": "survey", "category": "Mine", "data": {"a": 1}, "link": "/a", "image": "/b.png", "actions": [{"label": "L", "link": "/c"}],
        "thread_key": "t", "priority": "high", "source_user": SimpleNamespace(id=4), "source": "tests", "idempotency_key": "k",
    }  # fmt: skip
    event = service.send_notification("1", "T", "M", "error", **options).event
    for name in options.keys() - {"source_user"}:
        assert getattr(event, name) == options[name]
    assert event.notification_type == "error"
    assert event.source_user_id is not None


def test_texts_replace_title_and_message(service: NotificationService) -> None:
    texts = {"fr": {"title": "F", "message": "f"}, "en": {"title": "E", "message": "e"}}
    assert service.send_notification("1", texts=texts).event.texts == texts
    with pytest.raises(InvalidInput, match="^texts: expected either"):
        service.send_notification("1", "T", "M", texts=texts)


REFUSED: list[tuple[type[Exception], str, Any]] = [
    (InvalidInput, "^title: expected", lambda s: s.send_broadcast(message="M")),
    (InvalidInput, "^message: expected", lambda s: s.send_broadcast("T")),
    (InvalidInput, "^title: expected", lambda s: s.send_notification("1", "", "M")),
    (TooLarge, "^title: .* got 201", lambda s: s.send_broadcast("x" * 201, "M")),
    (InvalidInput, "^notification_type: ", lambda s: s.send_broadcast("T", "M", "danger")),
    (InvalidInput, "^notification_type: ", lambda s: s.send_broadcast("T", "M", "")),
    (InvalidInput, "^event_type: ", lambda s: s.create_event("nothing")),
    (InvalidInput, r"^data\.stage_id: ", lambda s: s.create_event("stage_update", {})),
    (InvalidInput, "^data: expected event_data", lambda s: s.create_event("system", data={})),
    (InvalidInput, "^data: ", lambda s: s.create_event("system", [1])),
    (UnknownGroup, "user_77", lambda s: s.send_notification("77", "T", "M")),
    (UnknownGroup, "user_77", lambda s: s.send_bulk_notifications(["1", "77"], "T", "M")),
    (UnknownGroup, "role_hr", lambda s: s.send_role_notifications(["rh", "hr"], "T", "M")),
    (UnknownGroup, "stage_99", lambda s: s.send_stage_notification(99, "T", "M")),
    (InvalidInput, "^person: ", lambda s: s.send_notification(None, "T", "M")),
    (InvalidInput, "^person: ", lambda s: s.send_notification(True, "T", "M")),
    (InvalidInput, "^person: ", lambda s: s.send_notification(["1"], "T", "M")),
    (InvalidAudience, "^group: |^audience: ", lambda s: s.send_notification("1 & role_rh", "T", "M")),
    (InvalidAudience, "^group: |^audience: ", lambda s: s.send_stage_notification("7 & everyone", "T", "M")),
    (InvalidAudience, "^recipients: ", lambda s: s.send_bulk_notifications("12", "T", "M")),
    (InvalidAudience, "^recipients: ", lambda s: s.send_bulk_notifications(None, "T", "M")),
    (InvalidAudience, "^audience: .*one term", lambda s: s.send_bulk_notifications([], "T", "M")),
    (InvalidAudience, "^audience: .*one term", lambda s: s.send_role_notifications([], "T", "M")),
    (InvalidAudience, "^target_roles: ", lambda s: s.send_role_notifications("rh", "T", "M")),
    (InvalidAudience, "^target_roles: ", lambda s: s.create_event("system", target_roles="rh", **WORDS)),
    (InvalidInput, "^stage_id: ", lambda s: s.send_stage_notification(None, "T", "M")),
    (InvalidInput, "^source_user: ", lambda s: s.send_broadcast("T", "M", source_user="77")),
    (InvalidInput, "^source_user: ", lambda s: s.send_broadcast("T", "M", source_user=object())),
    (TypeError, "unknown option colour", lambda s: s.send_broadcast("T", "M", colour="red")),
]


@pytest.mark.parametrize(("error", "message", "call"), REFUSED, ids=range(len(REFUSED)))
def test_a_refused_call_names_what_is_wrong_and_stores_nothing(
    service: NotificationService, people: Company, error: Any, message: str, call: Any
) -> None:
    with pytest.raises(error, match=message):
        call(service)
    assert people.count("notification_events") == 0


def test_a_broker_that_is_away_costs_a_second_and_nothing_is_lost(
    system: System, people: Company, settings: Settings
) -> None:
    with BrokerDoor(settings) as door:
        door.refuse()
        sent = NotificationService(settings=door.settings).send_broadcast(**WORDS)
        assert people.count("notification_events") == 1
        assert len(sent) == 6, "the sweep found it"


def test_a_recipient_shows_who_they_are(system: System, service: NotificationService) -> None:
    (one,) = service.send_notification("5", **WORDS)
    assert (one.recipient.name, one.recipient.role, one.recipient.roles) == ("Person 5", "admin", ("admin", "rh"))


def test_a_large_audience_arrives_whole(system: System, service: NotificationService, people: Company) -> None:
    people.people((f"p{n}" for n in range(2500)), "role_guest")
    sent = service.send_role_notifications(["guest"], **WORDS)
    sent.wait(30)
    assert len(sent) == 2500
    assert len({one.recipient.id for one in sent}) == 2500
    wait_until(lambda: people.count("notifications") == 2500, "all are stored")
