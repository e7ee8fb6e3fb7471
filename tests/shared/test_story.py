"""`stagebloom events show`: where an event stands, and why."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from producer import NotificationService
from shared.database import transaction
from shared.errors import NotFound
from shared.settings import Settings
from shared.story import tell_story, what_stands
from tests.company import Company
from tests.shared.test_cli import answered, refused
from workers import tasks


def send(settings: Settings, **draft: str) -> int:
    with transaction(settings) as session:
        return (
            NotificationService(session, settings)
            .send_role_notifications(["rh"], "Réunion [bold]", "Salle 7", **draft)
            .id
        )  # type: ignore[arg-type]


def summary(settings: Settings, event_id: int) -> str:
    with transaction(settings) as session:
        return what_stands(tell_story(session, event_id))


def test_a_processed_event_tells_its_plan_and_its_counts(company: Company, settings: Settings) -> None:
    company.people(["1", "2"], "role_rh", locale="en")
    event_id = send(settings)
    tasks.process_event()
    story = json.loads(answered("events", "show", str(event_id), "--json"))
    assert (story["id"], story["status"], story["recipient_count"], story["audience"]) == (
        event_id,
        "processed",
        2,
        ["role_rh"],
    )
    assert story["groups"] == {"role_rh": {"known": True, "members": 2}}
    (row,) = story["plan"]
    assert (row["kind"], row["batches"], row["people"], row["stored"], row["published"]) == (
        "role_notification",
        1,
        2,
        1,
        1,
    )
    assert story["summary"] == "It is stored for 2 people and announced."
    shown = answered("events", "show", str(event_id))
    for word in ("Réunion [bold]", "Salle 7", "role_rh", "role_notification", "announced"):
        assert word in shown


def test_wherever_it_stands_the_story_says_so(company: Company, settings: Settings) -> None:
    company.groups("role_rh")
    event_id = send(settings)
    assert summary(settings, event_id).startswith("No worker has taken it yet")
    tasks.process_event()
    assert "reached nobody" in summary(settings, event_id)

    states = {
        "status = 'failed', error = 'too_old'": "It failed (too_old)",
        "status = 'pending', attempts = 2, retry_at = now(), error = 'X'": "Attempt 2 failed (X); it is tried again",
        "status = 'planned', retry_at = NULL": "0 of 0 batches are stored",
        "status = 'processed', recipient_count = 5": "stored for 5 people; its plan was cleaned away",
    }
    for change, expected in states.items():
        with transaction(settings) as session:
            session.execute(text(f"UPDATE notification_events SET {change}"))
        assert expected in summary(settings, event_id)


def test_an_unknown_id_is_named(settings: Settings, clean: None) -> None:
    with transaction(settings) as session, pytest.raises(NotFound, match="none with the id 5"):
        tell_story(session, 5)
    assert refused("events", "show", "5").startswith("stagebloom: event: there is none with the id 5")
