"""The specification's section "Logs", a test for each of its lines, on what a running system wrote.

Each line names the event (a connection: the person) and none holds contents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from producer import NotificationService
from shared.database import engine, transaction
from shared.events import EventDraft, record_event
from shared.settings import Settings
from tests.company import Company
from tests.conftest import EMPTY
from tests.live_client import connect
from tests.system import System, wait_until

SECRET = "Zanzibar"  # stands in every title, message and data
BREAK = text("UPDATE notification_events SET audience = '{}' WHERE id = :id")
MEND = text("UPDATE notification_events SET audience = '[[\"role_rh\"]]' WHERE id = :id")


@dataclass
class Story:
    """What happened, and what each process wrote about it."""

    single: int
    large: int
    broken: int
    user_id: int
    written: dict[str, str]

    def lines(self, process: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of a process that have these fields."""
        found = [json.loads(line) for line in self.written[process].splitlines() if line.startswith('{"')]
        return [line for line in found if fields.items() <= line.items()]


@pytest.fixture(scope="module")
def story(settings: Settings, running_system: System) -> Iterator[Story]:
    """One event for a role, a large one, and one that fails first; logged as JSON from DEBUG on."""
    running_system.stop()
    with engine(settings).begin() as connection:
        connection.execute(EMPTY)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in (("LOG_FORMAT", "json"), ("LOG_LEVEL", "DEBUG"), ("NOTIFICATION_BATCH_SIZE", "2")):
            environment.setenv(name, value)
        with System(settings) as system:
            system.start_missing()
            yield _happen(settings, system)


def _happen(settings: Settings, system: System) -> Story:
    company = Company(settings)
    user_id = company.person("1", "role_rh", "role_all")
    company.people(["2", "3"], "role_all")
    service = NotificationService(settings=settings)
    words = {"title": SECRET, "message": SECRET, "data": {"word": SECRET}}
    with transaction(settings) as session:
        broken = record_event(session, EventDraft(audience=["role_rh"], **words), settings).id  # type: ignore[arg-type]
        session.execute(BREAK, {"id": broken})
    with connect(system.base_url, company.token("1")) as client:
        single = service.send_role_notifications(["rh"], exclude=["user_2"], **words).id  # type: ignore[arg-type]
        client.wait_for("role_notification", lambda frame: frame["notification"]["id"] == single)
        large = service.send_role_notifications(["all"], **words).wait().id  # type: ignore[arg-type]
        client.wait_for("role_notification", lambda frame: frame["notification"]["id"] == large)
        wait_until(lambda: str(broken) in system.log("worker", 10_000), "the broken one fails", explain=system.logs)
        with transaction(settings) as session:
            session.execute(MEND, {"id": broken})
        client.wait_for("role_notification", lambda frame: frame["notification"]["id"] == broken)

    def written() -> dict[str, str]:
        return {name: system.log(name, 10_000) for name in ("web", "worker", "bulk")}

    def is_written() -> bool:
        found = Story(single, large, broken, user_id, written())
        return all(
            any(found.lines(name, event="event_processed", event_id=one) for name in ("worker", "bulk"))
            for one in (single, large, broken)
        )

    wait_until(is_written, "every event is logged", explain=system.logs)
    return Story(single, large, broken, user_id, written())


def test_notification_creation_and_processing(story: Story) -> None:
    (line,) = story.lines("worker", event="event_processed", event_id=story.single)
    assert line["people"] == 1
    (planned,) = [
        one for name in ("worker", "bulk") for one in story.lines(name, event="event_planned", event_id=story.large)
    ]
    assert planned["batches"] == 2
    (finished,) = [
        one for name in ("worker", "bulk") for one in story.lines(name, event="event_processed", event_id=story.large)
    ]
    assert finished["people"] == 3


def test_websocket_connection_and_delivery(story: Story) -> None:
    assert story.lines("web", event="connected", user_id=story.user_id)
    for event_id in (story.single, story.large):
        assert sum(line["people"] for line in story.lines("web", event="frames_queued", event_id=event_id)) == 1


def test_role_based_targeting_and_filtering(story: Story) -> None:
    (line,) = story.lines("worker", event="event_processed", event_id=story.single)
    assert (line["audience"], line["exclude"], line["kinds"]) == (["role_rh"], ["user_2"], {"role_notification": 1})


def test_error_handling_and_recovery(story: Story) -> None:
    failed, *_ = story.lines("worker", event="event_failed", event_id=story.broken)
    assert (failed["level"], failed["status"]) == ("error", "pending")
    assert "cannot extract elements" in failed["exception"]
    (recovered,) = story.lines("worker", event="event_processed", event_id=story.broken)
    assert recovered["timestamp"] > failed["timestamp"]


def test_performance_metrics(story: Story) -> None:
    (line,) = story.lines("worker", event="event_processed", event_id=story.single)
    assert line["turn_ms"] > 0
    assert 0 < line["age_ms"] < 60_000


def test_no_line_holds_contents(story: Story) -> None:
    for process, written in story.written.items():
        assert SECRET not in written, process
