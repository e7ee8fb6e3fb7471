"""The same key with the same content is one event, whoever sends it and however many at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from producer import NotificationService
from shared.database import engine
from shared.errors import Conflict, InvalidInput, Unavailable
from shared.settings import Settings
from tests.company import Company


@pytest.fixture
def people(company: Company) -> Company:
    company.people(["1", "2", "3"], "role_rh")
    return company


@pytest.fixture
def service(people: Company, settings: Settings) -> NotificationService:
    return NotificationService(settings=settings)


@pytest.fixture
def own(settings: Settings, people: Company) -> Iterator[Session]:
    with Session(engine(settings)) as session:
        yield session


def send(service: NotificationService, **changes: Any) -> int:
    return service.send_role_notifications(
        ["rh"], **{"title": "T", "message": "M", "idempotency_key": "k", **changes}
    ).id


def test_the_same_again_is_the_first_event(service: NotificationService, people: Company) -> None:
    assert len({send(service) for _ in range(3)}) == 1
    assert people.count("notification_events") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Other"}, {"message": "Other"}, {"notification_type": "error"}, {"data": {"a": 1}}, {"link": "/a"}, {"priority": "high"},
        {"exclude": ["user_1"]}, {"source_user": "1"}, {"event_type": "survey"}, {"thread_key": "t"}, {"actions": [{"label": "L", "link": "/"}]},
    ],
)  # fmt: skip
def test_other_content_is_a_conflict_that_names_the_first(
    service: NotificationService, people: Company, changes: dict[str, Any]
) -> None:
    first = send(service)
    with pytest.raises(Conflict, match=f"'k' was used with other content by event {first}") as refused:
        send(service, **changes)
    assert refused.value.details["event_id"] == first
    assert not refused.value.retryable
    assert people.count("notification_events") == 1


def test_another_audience_is_other_content(service: NotificationService) -> None:
    send(service)
    with pytest.raises(Conflict):
        service.send_broadcast("T", "M", idempotency_key="k")


def test_the_order_in_which_a_set_comes_is_no_content(service: NotificationService) -> None:
    first = service.send_bulk_notifications(
        ["1", "2", "3"], "T", "M", idempotency_key="k", exclude=["user_1", "user_2"], data={"a": 1, "b": 2}
    )
    again = service.send_bulk_notifications(
        ["3", "1", "2"], "T", "M", idempotency_key="k", exclude=["user_2", "user_1"], data={"b": 2, "a": 1}
    )
    assert first.id == again.id


def test_another_source_has_keys_of_its_own(service: NotificationService) -> None:
    assert send(service) != send(service, source="billing")
    assert send(service, source="billing") == send(service, source="billing")


def test_without_a_key_every_call_is_an_event(service: NotificationService) -> None:
    assert send(service, idempotency_key=None) != send(service, idempotency_key=None)


def test_many_at_once_are_one_event(service: NotificationService, people: Company) -> None:
    def attempt(_: int) -> int | None:
        try:
            return send(service)
        except Unavailable:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(attempt, range(40)))
    assert len(made - {None}) == 1
    assert people.count("notification_events") == 1


def test_who_comes_second_waits_and_gets_the_first_event(
    own: Session, service: NotificationService, settings: Settings
) -> None:
    first = send(NotificationService(own, settings))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(send, service)
        threading.Timer(0.2, own.commit).start()
        assert second.result(10) == first


def test_who_waits_longer_than_a_second_is_told_to_try_again(
    own: Session, service: NotificationService, settings: Settings
) -> None:
    first = send(NotificationService(own, settings))
    started = time.monotonic()
    with pytest.raises(Unavailable, match="try again") as refused:
        send(service)
    assert 0.9 < time.monotonic() - started < 3
    assert refused.value.retryable
    own.commit()
    assert send(service) == first


def test_a_key_whose_transaction_was_rolled_back_is_free_again(
    own: Session, service: NotificationService, settings: Settings, people: Company
) -> None:
    send(NotificationService(own, settings))
    own.rollback()
    send(service, title="Other")
    assert people.count("notification_events") == 1


def test_a_snapshot_that_is_too_old_gets_a_retryable_error_and_goes_on(
    service: NotificationService, settings: Settings, people: Company
) -> None:
    with Session(engine(settings).execution_options(isolation_level="REPEATABLE READ")) as old:
        old.execute(text("SELECT 1"))
        first = send(service)
        with pytest.raises(Unavailable) as refused:
            send(NotificationService(old, settings))
        assert refused.value.retryable
        assert send(NotificationService(old, settings), idempotency_key="another")
        old.commit()
        assert send(NotificationService(old, settings)) == first
    assert people.count("notification_events") == 2


def test_two_that_wait_for_each_other_get_a_retryable_error(service: NotificationService, settings: Settings) -> None:
    with Session(engine(settings)) as one, Session(engine(settings)) as two, ThreadPoolExecutor(2) as pool:
        send(NotificationService(one, settings), idempotency_key="a")
        send(NotificationService(two, settings), idempotency_key="b")
        crossing = pool.submit(send, NotificationService(two, settings), idempotency_key="a")
        crossed = pool.submit(send, NotificationService(one, settings), idempotency_key="b")
        failures = [attempt.exception(10) for attempt in (crossing, crossed)]
        assert any(isinstance(failure, Unavailable) for failure in failures)
        assert all(failure is None or isinstance(failure, Unavailable) for failure in failures)


def test_the_caller_s_lock_timeout_is_as_it_was(own: Session, settings: Settings) -> None:
    own.execute(text("SET LOCAL lock_timeout = '7s'"))
    send(NotificationService(own, settings))
    send(NotificationService(own, settings))
    assert own.scalar(text("SELECT current_setting('lock_timeout')")) == "7s"


def test_a_key_does_not_hide_bad_input(service: NotificationService) -> None:
    send(service)
    with pytest.raises(InvalidInput):
        send(service, title="")
