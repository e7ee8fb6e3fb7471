"""What a call returns is a sequence of the stored notifications that waits for them, and says why it can't."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text
from sqlalchemy.orm import Session

from producer import NotificationService, SentEvent
from shared.database import engine, transaction
from shared.errors import NotFound, NotificationError, Timeout
from shared.settings import Settings
from tests.company import Company
from tests.system import System

BATCH = text("""
    INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids, stored_xid, stored_at, published_at)
    SELECT :event, :n, 'role_notification', 'fr', array_agg(id ORDER BY external_id), pg_current_xact_id(), now(), now()
    FROM users WHERE external_id = ANY(:ids)
""")
LEAVE = text(
    "UPDATE notification_events SET status = :status, error = :error, retry_at = now() + interval '1 hour' WHERE id = :id"
)
PEOPLE = [f"p{n:04}" for n in range(25)]


@pytest.fixture
def service(company: Company, settings: Settings) -> NotificationService:
    company.people(PEOPLE, "role_guest")
    company.person("42", "role_rh")
    return NotificationService(settings=settings)


def left(settings: Settings, status: str, error: str | None = None, **recipients: list[str]) -> SentEvent:
    """An event as workers would leave it, with these batches; recorded in one go, so that none takes it."""
    with transaction(settings) as session:
        event = NotificationService(session, settings).send_role_notifications(["guest"], "T", "M").event
        for n, ids in enumerate(recipients.values()):
            session.execute(BATCH, {"event": event.id, "n": n, "ids": ids})
        session.execute(LEAVE, {"id": event.id, "status": status, "error": error})
    return SentEvent(event, settings)


@pytest.fixture
def sent(service: NotificationService, settings: Settings) -> SentEvent:
    """Three batches: 10, 10 and 5 people."""
    return left(settings, "processed", first=PEOPLE[:10], second=PEOPLE[10:20], third=PEOPLE[20:])


@pytest.fixture
def statements(settings: Settings) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy_event.listen(engine(settings), "before_cursor_execute", note)
    yield seen
    sqlalchemy_event.remove(engine(settings), "before_cursor_execute", note)


def test_it_counts_and_iterates_in_the_order_of_the_plan(sent: SentEvent) -> None:
    assert len(sent) == 25
    assert [one.recipient.id for one in sent] == PEOPLE
    assert bool(sent)


@pytest.mark.parametrize("index", [0, 9, 10, 19, 24, -1, -25])
def test_an_index_finds_its_person(sent: SentEvent, index: int) -> None:
    assert sent[index].recipient.id == PEOPLE[index]


@pytest.mark.parametrize("index", [25, -26, 1000])
def test_an_index_beyond_is_an_index_error(sent: SentEvent, index: int) -> None:
    with pytest.raises(IndexError):
        sent[index]


@pytest.mark.parametrize(
    "cut",
    [
        slice(None),
        slice(5),
        slice(8, 12),
        slice(-3, None),
        slice(None, None, -1),
        slice(20, 5, -4),
        slice(3, 3),
        slice(100, 200),
    ],
)
def test_a_slice_is_that_of_a_list(sent: SentEvent, cut: slice) -> None:
    assert [one.recipient.id for one in sent[cut]] == PEOPLE[cut]


def test_a_slice_and_a_loop_over_indices_load_each_batch_once(sent: SentEvent, statements: list[str]) -> None:
    len(sent)
    statements.clear()
    assert len(sent[:]) == 25
    assert sum("event_batches" in statement for statement in statements) == 3
    assert [sent[n].recipient.id for n in range(25)] == PEOPLE
    assert sum("event_batches" in statement for statement in statements) == 6


def test_it_holds_what_a_list_holds(sent: SentEvent) -> None:
    assert sent[3] in sent
    assert [one.recipient.id for one in reversed(sent)] == PEOPLE[::-1]


def test_nobody_notified_is_an_empty_sequence(service: NotificationService, settings: Settings) -> None:
    sent = left(settings, "processed")
    assert (len(sent), list(sent), bool(sent)) == (0, [], False)


def test_the_wait_ends_with_an_error_that_says_so(service: NotificationService, settings: Settings) -> None:
    sent = left(settings, "pending")
    started = time.monotonic()
    with pytest.raises(Timeout, match=r"still pending after 0\.3 s: are workers running") as late:
        sent.wait(0.3)
    assert 0.3 <= time.monotonic() - started < 2
    assert late.value.retryable
    assert late.value.details["event_id"] == sent.id
    with pytest.raises(Timeout):
        service.process_event(sent.event, timeout=0)


def test_a_failed_event_says_why(service: NotificationService, settings: Settings) -> None:
    sent = left(settings, "failed", "too_old")
    for use in (lambda: len(sent), lambda: list(sent), lambda: sent[0], sent.wait):
        with pytest.raises(NotificationError, match=f"event {sent.id} failed: too_old"):
            use()


@pytest.mark.parametrize("gone", ["n = 0", "true"])
def test_when_the_plan_has_been_cleaned_away_it_says_so(
    service: NotificationService, settings: Settings, gone: str
) -> None:
    sent = left(settings, "processed", one=PEOPLE[:2], other=PEOPLE[2:3])
    with transaction(settings) as session:
        session.execute(text("UPDATE notification_events SET recipient_count = 3 WHERE id = :id"), {"id": sent.id})
        session.execute(text(f"DELETE FROM event_batches WHERE event_id = :id AND {gone}"), {"id": sent.id})
    for use in (lambda: len(sent), lambda: list(sent), lambda: sent[0]):
        with pytest.raises(NotFound, match=f"event {sent.id} reached 3 people, but who they were is kept for a day"):
            use()
    assert sent.wait().event.recipient_count == 3


def test_an_event_that_reached_nobody_is_an_empty_sequence(service: NotificationService, settings: Settings) -> None:
    assert list(left(settings, "processed")) == []


def test_an_uncommitted_event_can_not_be_waited_for(service: NotificationService, settings: Settings) -> None:
    with Session(engine(settings)) as session:
        sent = NotificationService(session, settings).send_broadcast("T", "M")
        with pytest.raises(NotificationError, match="commit its transaction first"):
            sent.wait()
        session.rollback()
        with pytest.raises(NotificationError, match="rolled back"):
            sent.wait()
        assert repr(sent) == f"<SentEvent {sent.id}>"


@pytest.mark.parametrize("then", [lambda session: session.execute(text("SELECT 1")), lambda session: None])
def test_once_committed_it_can_whatever_the_session_does_next(
    system: System, service: NotificationService, settings: Settings, then: Callable[[Session], object]
) -> None:
    with Session(engine(settings)) as session:
        sent = NotificationService(session, settings).send_notification("42", "T", "M")
        session.commit()
        then(session)
        assert [one.recipient.id for one in sent] == ["42"]
    assert repr(sent)


def test_process_event_takes_an_event_of_the_caller_s_session(
    system: System, service: NotificationService, settings: Settings
) -> None:
    with Session(engine(settings)) as session:
        own = NotificationService(session, settings)
        event = own.create_event("system", title="T", message="M", target_roles=["rh"])
        session.commit()
        assert len(own.process_event(event)) == 1
        assert event.processed
        assert event not in session.dirty
