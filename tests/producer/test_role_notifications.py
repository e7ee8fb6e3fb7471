"""`RoleNotificationHelper`: ten methods, each for exactly its people."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from producer import RoleNotificationHelper, SentEvent
from producer import role_notifications as module
from shared.database import engine
from shared.errors import InvalidInput, UnknownGroup
from shared.models import NotificationEvent
from shared.settings import Settings
from tests.broken_broker import quiet_broker
from tests.company import Company
from tests.producer.test_notify import reached

WORDS = {"title": "Titre", "message": "Message"}
NOTIFY: list[tuple[str, dict[str, Any], str]] = [
    ("notify_stagiaires", {}, "1 2"),
    ("notify_tuteurs", {}, "3"),
    ("notify_rh_team", {}, "4 5"),
    ("notify_admin_team", {}, "5 6"),
    ("notify_management_team", {}, "4 5 6"),
    ("notify_stage_participants", {"stage_id": 123}, "1 3"),
    ("notify_survey_participants", {"survey_id": 456}, "2"),
]
CREATE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("create_stage_event", {"event_type": "stage_update", "stage_id": 123}, {"stage_id": 123}, "1 3"),
    ("create_survey_event", {"event_type": "survey", "survey_id": 456}, {"survey_id": 456}, "2 4 5"),
    (
        "create_evaluation_event",
        {"event_type": "evaluation", "evaluator_id": 3, "evaluated_id": 1},
        {"evaluator_id": 3, "evaluated_id": 1},
        "1 3",
    ),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return quiet_broker(settings)


@pytest.fixture
def own(settings: Settings, company: Company) -> Iterator[Session]:
    company.person("1", "role_stagiaire", "stage_123")
    company.person("2", "role_stagiaire", "survey_456")
    company.person("3", "role_tuteur", "stage_123")
    company.person("4", "role_rh")
    company.person("5", "role_rh", "role_admin")
    company.person("6", "role_admin")
    with Session(engine(settings)) as session:
        yield session


@pytest.fixture
def helper(own: Session, settings: Settings) -> RoleNotificationHelper:
    return RoleNotificationHelper(own, settings)


@pytest.mark.parametrize(("method", "arguments", "who"), NOTIFY, ids=[row[0] for row in NOTIFY])
def test_it_notifies_exactly_its_people(
    own: Session, settings: Settings, helper: RoleNotificationHelper, method: str, arguments: dict[str, Any], who: str
) -> None:
    sent = getattr(helper, method)(
        **arguments, **WORDS, notification_type="success", source_user=SimpleNamespace(id=4), data={"a": 1}
    )
    assert isinstance(sent, SentEvent)
    assert sent.event.texts == {"fr": WORDS}
    assert (sent.event.notification_type, sent.event.data) == ("success", {"a": 1})
    assert sent.event.source_user_id is not None
    assert reached(own, settings, sent.id) == who


@pytest.mark.parametrize(("method", "arguments", "data", "who"), CREATE, ids=[row[0] for row in CREATE])
def test_it_records_an_event_for_whom_the_catalogue_names(
    own: Session,
    settings: Settings,
    helper: RoleNotificationHelper,
    method: str,
    arguments: dict[str, Any],
    data: dict[str, Any],
    who: str,
) -> None:
    event = getattr(helper, method)(**arguments, event_data={"round": 2}, source_user=4)
    assert isinstance(event, NotificationEvent)
    assert event.data == {"round": 2, **data}
    assert event.source_user_id is not None
    assert reached(own, settings, event.id) == who


def test_target_roles_decide_instead_of_the_catalogue(
    own: Session, settings: Settings, helper: RoleNotificationHelper
) -> None:
    event = helper.create_stage_event("stage_update", SimpleNamespace(id=123), target_roles=["admin"])
    assert reached(own, settings, event.id) == "5 6"


def test_all_ten_are_tested_and_none_needs_a_source_user(helper: RoleNotificationHelper) -> None:
    methods = {
        name: method for name, method in inspect.getmembers(helper, inspect.ismethod) if not name.startswith("_")
    }
    assert {row[0] for row in NOTIFY} | {row[0] for row in CREATE} == set(methods)
    assert len(methods) == 10
    assert {inspect.signature(method).parameters["source_user"].default for method in methods.values()} == {None}


def test_a_survey_that_nobody_recorded_is_refused(helper: RoleNotificationHelper) -> None:
    with pytest.raises(UnknownGroup, match="audience: expected known groups, got survey_457"):
        helper.notify_survey_participants(457, **WORDS)
    with pytest.raises(UnknownGroup, match="survey_457"):
        helper.create_survey_event("survey", 457)
    with pytest.raises(InvalidInput, match="survey_id: expected an id"):
        helper.notify_survey_participants(None, **WORDS)  # the group "survey_None" is never meant


def test_the_convenience_functions_stand_beside_the_helper_too() -> None:
    assert {name for name in module.__all__ if name.startswith("notify_")} == {
        "notify_new_stage_created", "notify_document_uploaded", "notify_survey_available",
        "notify_kpi_alert", "notify_testimonial_submitted", "notify_evaluation_completed",
    }  # fmt: skip


def test_the_status_change_of_the_specification_is_recorded_as_written(
    own: Session, settings: Settings, helper: RoleNotificationHelper
) -> None:
    event = helper.create_stage_event(
        event_type='stage_update',
        stage_id=123,
        event_data={
            'action': 'status_changed',
            'old_status': 'en_cours',
            'new_status': 'termine'
        }
    )  # fmt: skip
    assert event.data == {
        "action": "status_changed",
        "old_status": "en_cours",
        "new_status": "termine",
        "stage_id": 123,
    }
    assert event.texts["en"]["message"] == "Internship 123 now has the status “termine”."
    assert reached(own, settings, event.id) == "1 3"
