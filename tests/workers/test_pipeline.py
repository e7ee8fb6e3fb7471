"""The doors, called in this process: what fails, dies or stands still is taken up again, once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import engine, transaction
from shared.events import EventDraft, record_event
from shared.ids import first_event_id_at
from shared.installation import installation_id
from shared.models import NotificationEvent
from shared.redis import connect
from shared.settings import Settings
from shared.tasks import PLAN_BULK, PROCESS_EVENT, PUBLISH_BATCHES, STORE_BATCHES
from shared.topics import BatchMessage, decode, live_topic
from tests.company import Company
from workers import planning, publishing, storing, tasks, upkeep, upkeep_tasks


def record(settings: Settings, *audience: str, title: str = "T") -> int:
    with transaction(settings) as session:
        return record_event(session, EventDraft(audience=list(audience), title=title, message="M"), settings).id


def event(settings: Settings, event_id: int) -> NotificationEvent:
    with transaction(settings) as session:
        return session.get_one(NotificationEvent, event_id)


def rows(settings: Settings, statement: str, **values: Any) -> list[Any]:
    with transaction(settings) as session:
        return list(session.execute(text(statement), values))


def run_bulk_lane() -> None:
    tasks.process_event()
    tasks.plan_bulk()
    tasks.store_batches()


@pytest.fixture
def topic(settings: Settings, clean: None) -> Iterator[list[BatchMessage]]:
    """What gateways would hear, read to its end each time the list is looked at."""
    with transaction(settings) as session:
        name = live_topic(installation_id(session))
    with connect(settings) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(name)
        heard.get_message(timeout=5)

        class Heard(list[BatchMessage]):
            def __call__(self) -> list[BatchMessage]:
                while (message := heard.get_message(timeout=0.2)) is not None:
                    decoded = decode(message["data"])
                    assert isinstance(decoded, BatchMessage)
                    self.append(decoded)
                return self

        yield Heard()


def test_a_small_event_is_stored_and_published_by_one_ring(company: Company, settings: Settings, topic: Any) -> None:
    ids = company.people(["1", "2"], "role_rh")
    event_id = record(settings, "role_rh")
    tasks.process_event()
    assert event(settings, event_id).processed
    assert [(message.event_id, sorted(message.recipient_ids)) for message in topic()] == [(event_id, ids)]
    assert rows(settings, "SELECT FROM event_batches WHERE published_at IS NULL") == []


def test_one_faulty_event_fails_alone_and_is_tried_again_later(company: Company, settings: Settings) -> None:
    company.person("1")
    good, bad, also_good = (record(settings, "user_1") for _ in range(3))
    rows(settings, "UPDATE notification_events SET audience = '{}' WHERE id = :id RETURNING id", id=bad)
    tasks.process_event()
    assert event(settings, good).processed
    assert event(settings, also_good).processed
    failed = event(settings, bad)
    assert (failed.status, failed.attempts) == ("pending", 1)
    assert failed.error == "DataError: cannot extract elements from an object"
    assert failed.retry_at is not None
    assert failed.retry_at > datetime.now(UTC)

    rows(settings, "UPDATE notification_events SET attempts = 4, retry_at = now() WHERE id = :id RETURNING id", id=bad)
    tasks.process_event()
    assert event(settings, bad).status == "failed"


def test_a_faulty_large_event_is_counted_and_lets_the_next_one_pass(company: Company, settings: Settings) -> None:
    company.people([str(n) for n in range(1001)], "role_all")
    bad, good = record(settings, "role_all"), record(settings, "role_all")
    rows(
        settings,
        "UPDATE notification_events SET bulk = true, audience = CASE WHEN id = :id THEN '{}' ELSE audience END RETURNING id",
        id=bad,
    )
    tasks.plan_bulk()
    assert (event(settings, bad).attempts, event(settings, good).status) == (1, "pending")
    tasks.plan_bulk()
    assert event(settings, good).status == "planned"


def test_an_error_of_the_database_is_not_the_events_fault(
    company: Company, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.person("1")
    event_id = record(settings, "user_1")
    with transaction(settings) as holder:
        holder.execute(text("LOCK TABLE event_batches IN ACCESS EXCLUSIVE MODE"))
        monkeypatch.setattr(planning, "CLAIM", text("SET LOCAL lock_timeout = '50ms'; " + planning.CLAIM.text))
        tasks.process_event()
    assert event(settings, event_id).attempts == 0
    tasks.process_event()
    assert event(settings, event_id).processed


def test_what_redis_did_not_take_is_published_by_the_sweep_from_the_plan(
    company: Company, settings: Settings, topic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = company.people(["1", "2"], "role_rh")
    event_id = record(settings, "role_rh")
    away = redis.Redis(port=1, socket_connect_timeout=0.2)
    with monkeypatch.context() as without_redis:
        without_redis.setattr(publishing, "_redis", lambda: away)
        tasks.process_event()
    assert event(settings, event_id).processed
    assert topic() == []

    monkeypatch.setattr(publishing, "STALE_SECONDS", 0)
    tasks.publish_batches()
    assert [sorted(message.recipient_ids) for message in topic()] == [ids]
    tasks.publish_batches()
    assert len(topic()) == 1


def test_what_a_person_deleted_stays_deleted_when_its_batch_is_published_again(
    company: Company, settings: Settings
) -> None:
    company.person("1")
    event_id = record(settings, "user_1")
    tasks.process_event()
    rows(settings, "DELETE FROM notifications RETURNING event_id")
    rows(settings, "UPDATE event_batches SET published_at = NULL RETURNING n")
    with transaction(settings) as session:
        storing.store_planned(session, [(event_id, 0)])
    tasks.publish_batches()
    assert company.count("notifications") == 0


def test_a_batch_is_stored_in_as_many_statements_as_a_single_notification(company: Company, settings: Settings) -> None:
    company.people([str(n) for n in range(500)], "role_all")
    written: list[list[str]] = []
    for audience in ("user_1", "role_all"):
        record(settings, audience)
        statements: list[str] = []
        note = lambda *given, to=statements: to.append(given[2])
        sqlalchemy_event.listen(engine(settings), "before_cursor_execute", note)
        tasks.process_event()
        sqlalchemy_event.remove(engine(settings), "before_cursor_execute", note)
        written.append([one for one in statements if re.match(r"\s*(INSERT|UPDATE|WITH)", one)])
    assert company.count("notifications") == 501
    assert written[0] == written[1]
    assert sum("INTO notifications" in one for one in written[1]) == 1


def test_a_large_event_is_stored_by_several_workers_side_by_side_once(company: Company, settings: Settings) -> None:
    company.people([str(n) for n in range(20_000)], "role_all")
    event_id = record(settings, "role_all")
    tasks.process_event()
    tasks.plan_bulk()

    def work() -> None:
        while rows(settings, "SELECT FROM event_batches WHERE stored_at IS NULL LIMIT 1"):
            tasks.store_batches()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = event(settings, event_id)
    assert (found.status, found.recipient_count) == ("processed", 20_000)
    assert company.count("notifications") == 20_000


def test_a_worker_that_dies_before_its_commit_leaves_the_batch_to_the_next(
    company: Company, settings: Settings
) -> None:
    company.people([str(n) for n in range(1500)], "role_all")
    event_id = record(settings, "role_all")
    tasks.process_event()
    tasks.plan_bulk()
    with Session(engine(settings)) as session:
        storing.store_planned(session, storing.claim_batches(session))
        session.connection().invalidate()
    assert company.count("notifications") == 0
    tasks.store_batches()
    assert company.count("notifications") == 1500
    assert event(settings, event_id).processed


def test_someone_who_joins_after_the_plan_gets_nothing_and_who_leaves_keeps_theirs(
    company: Company, settings: Settings
) -> None:
    ids = company.people([str(n) for n in range(1001)], "role_all")
    record(settings, "role_all")
    tasks.process_event()
    tasks.plan_bulk()
    company.person("late", "role_all")
    rows(settings, "DELETE FROM memberships WHERE user_id = :id RETURNING user_id", id=ids[0])
    tasks.store_batches()
    assert sorted(one for (one,) in rows(settings, "SELECT recipient_id FROM notifications")) == ids


def test_the_sweep_names_the_door_of_whatever_stands_still(
    company: Company, settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doors() -> list[str]:
        with transaction(settings) as looking:
            return upkeep.doors_to_ring(looking)

    assert doors() == []
    company.people([str(n) for n in range(1001)], "role_all")
    record(settings, "role_all")
    assert doors() == [PROCESS_EVENT]
    tasks.process_event()
    assert doors() == [PLAN_BULK]
    tasks.plan_bulk()
    assert doors() == [STORE_BATCHES]
    with transaction(settings) as storing_session:
        storing.store_planned(storing_session, storing.claim_batches(storing_session))
    assert doors() == []
    monkeypatch.setattr(upkeep, "STALE_SECONDS", 0)
    assert doors() == [PUBLISH_BATCHES]


def test_the_sweep_finishes_an_event_whose_last_worker_died_after_storing(company: Company, settings: Settings) -> None:
    company.people([str(n) for n in range(1001)], "role_all")
    event_id = record(settings, "role_all")
    tasks.process_event()
    tasks.plan_bulk()
    with transaction(settings) as session:
        storing.store_planned(session, storing.claim_batches(session))
    assert event(settings, event_id).status == "planned"
    upkeep_tasks.sweep()
    assert event(settings, event_id).processed


def test_an_event_that_nobody_planned_for_a_day_fails_as_too_old(company: Company, settings: Settings) -> None:
    company.person("1")
    event_id = record(settings, "user_1")
    old = first_event_id_at(datetime.now(UTC) - timedelta(hours=25))
    rows(settings, "UPDATE notification_events SET id = :old WHERE id = :id RETURNING id", old=old, id=event_id)
    tasks.process_event()
    assert event(settings, old).status == "pending"
    upkeep_tasks.sweep()
    found = event(settings, old)
    assert (found.status, found.error, company.count("notifications")) == ("failed", "too_old", 0)


def test_every_language_of_an_event_is_one_frame_however_many_its_batches(
    company: Company, settings: Settings, topic: Any
) -> None:
    company.people([f"f{n}" for n in range(1500)], "role_all", locale="fr")
    company.people([f"e{n}" for n in range(1500)], "role_all", locale="en")
    words = {locale: {"title": locale, "message": locale} for locale in ("fr", "en")}
    with transaction(settings) as session:
        record_event(session, EventDraft(audience=["role_all"], texts=words), settings)
    run_bulk_lane()
    assert len(topic()) == 4
    assert len({message.frame for message in topic}) == 2
