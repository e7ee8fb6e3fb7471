"""An event is part of the caller's transaction: rolled back, it never was, and nobody is woken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from producer import Directory, NotificationService
from shared.database import engine
from shared.errors import UnknownGroup
from shared.settings import Settings
from tests.broken_broker import quiet_broker
from tests.company import Company

Rings = Callable[[], int]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return quiet_broker(settings)


@pytest.fixture
def people(company: Company) -> Company:
    company.person("42", "role_rh")
    return company


@pytest.fixture
def own(settings: Settings, people: Company) -> Iterator[Session]:
    """The caller's session, with SQLAlchemy's defaults."""
    with Session(engine(settings)) as session:
        yield session


def send(session: Session, settings: Settings) -> None:
    NotificationService(session, settings).send_role_notifications(["rh"], "T", "M")


def test_a_commit_records_and_rings_once(own: Session, settings: Settings, people: Company, rings: Rings) -> None:
    for _ in range(3):
        send(own, settings)
    assert (people.count("notification_events"), rings()) == (0, 0)
    own.commit()
    assert (people.count("notification_events"), rings()) == (3, 1)
    own.execute(text("SELECT 1"))
    own.commit()
    assert rings() == 0, "a later transaction has nothing to say"


def test_a_rollback_leaves_nothing_and_rings_nothing(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    send(own, settings)
    own.rollback()
    own.execute(text("SELECT 1"))
    own.commit()
    assert (people.count("notification_events"), rings()) == (0, 0)


def test_a_session_that_is_closed_uncommitted_leaves_nothing(settings: Settings, people: Company, rings: Rings) -> None:
    with Session(engine(settings)) as session:
        send(session, settings)
    assert (people.count("notification_events"), rings()) == (0, 0)


def test_an_error_in_the_caller_s_block_leaves_nothing(settings: Settings, people: Company, rings: Rings) -> None:
    def work() -> None:
        with Session(engine(settings)) as session, session.begin():
            send(session, settings)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert (people.count("notification_events"), rings()) == (0, 0)


def test_a_savepoint_rolled_back_takes_its_events_and_keeps_the_others(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    send(own, settings)
    savepoint = own.begin_nested()
    send(own, settings)
    savepoint.rollback()
    own.commit()
    assert (people.count("notification_events"), rings()) == (1, 1)


def test_a_released_savepoint_rings_only_with_the_outer_commit(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    with own.begin_nested():
        send(own, settings)
    assert rings() == 0
    own.commit()
    assert (people.count("notification_events"), rings()) == (1, 1)


def test_a_released_savepoint_in_a_rolled_back_transaction_rings_nothing(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    with own.begin_nested(), own.begin_nested():
        send(own, settings)
    own.rollback()
    own.commit()
    assert (people.count("notification_events"), rings()) == (0, 0)


def test_the_caller_s_own_changes_and_the_event_are_one(own: Session, settings: Settings, people: Company) -> None:
    own.execute(text("INSERT INTO groups (name) VALUES ('stage_new')"))
    NotificationService(own, settings).send_stage_notification("new", "T", "M")
    assert people.count("groups") == 1
    own.commit()
    assert (people.count("groups"), people.count("notification_events")) == (2, 1)


def test_after_a_refused_call_the_session_goes_on(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    send(own, settings)
    with pytest.raises(UnknownGroup):
        NotificationService(own, settings).send_role_notifications(["hr"], "T", "M")
    send(own, settings)
    own.commit()
    assert (people.count("notification_events"), rings()) == (2, 1)


def test_a_conflict_leaves_the_session_usable(own: Session, settings: Settings, people: Company, rings: Rings) -> None:
    service = NotificationService(own, settings)
    service.send_broadcast("T", "M", idempotency_key="k")
    with pytest.raises(Exception, match="other content"):
        service.send_broadcast("T", "other", idempotency_key="k")
    own.commit()
    assert (people.count("notification_events"), rings()) == (1, 1)


def test_people_who_are_added_in_the_same_transaction_can_be_notified(
    own: Session, settings: Settings, people: Company, rings: Rings
) -> None:
    directory = Directory(own, settings)
    directory.add_groups(["stage_9"])
    directory.add_members("stage_9", ["42"])
    NotificationService(own, settings).send_stage_notification(9, "T", "M")
    own.commit()
    assert people.count("notification_events") == 1
    assert 1 <= rings() <= 2, "one for the people, one for the event"


def test_a_scoped_session_is_that_of_the_thread_which_calls(settings: Settings, people: Company, rings: Rings) -> None:
    registry = scoped_session(sessionmaker(engine(settings)))
    service, directory = NotificationService(registry, settings), Directory(registry, settings)
    service.send_broadcast("mine", "M")

    def elsewhere() -> None:
        service.send_broadcast("theirs", "M")
        directory.add_groups(["theirs"])
        registry.commit()
        registry.remove()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert people.count("notification_events") == 1
    assert rings() >= 1
    registry.rollback()
    registry.remove()
    assert people.count("notification_events") == 1


def test_after_remove_the_scoped_session_is_a_new_one(settings: Settings, people: Company) -> None:
    registry = scoped_session(sessionmaker(engine(settings)))
    service = NotificationService(registry, settings)
    for _ in range(2):
        service.send_broadcast("T", "M")
        registry.commit()
        registry.remove()
    assert people.count("notification_events") == 2


def test_without_a_session_each_call_is_committed_and_rung_for(
    settings: Settings, people: Company, rings: Rings
) -> None:
    NotificationService(settings=settings).send_broadcast("T", "M")
    assert (people.count("notification_events"), rings()) == (1, 1)


def test_without_any_broker_configured_a_committed_call_succeeds(
    settings: Settings, people: Company, tmp_path: object
) -> None:
    nowhere = settings.model_copy(update={"database_url": settings.database, "broker_url": None, "data_dir": tmp_path})
    assert NotificationService(settings=nowhere).send_broadcast("T", "M").id
    assert people.count("notification_events") == 1
