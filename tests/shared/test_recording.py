"""Many events at once are what each would be alone, in a handful of statements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared import templates
from shared.database import engine
from shared.errors import Conflict, InvalidInput, Unavailable, UnknownGroup
from shared.events import EventDraft, record_event
from shared.models import NotificationEvent
from shared.recording import record_events
from shared.settings import Settings
from shared.templates import TemplateDraft
from tests.company import Company

OWN = {"id", "created_at", "idempotency_key"}


@pytest.fixture
def rh(company: Company, session: Session) -> Company:
    company.person("42", "role_rh", "stage_7")
    for message in ("Le stage {{ stage_id }}", "{{ stage_id.x.y }}"):
        draft = TemplateDraft(name="stage_update.completed", locale="fr", title="Fini", message=message)
        templates.save(session, draft)
    return company


@pytest.fixture
def statements(settings: Settings) -> Iterator[list[str]]:
    """Every statement that is executed."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy_event.listen(engine(settings), "before_cursor_execute", note)
    yield seen
    sqlalchemy_event.remove(engine(settings), "before_cursor_execute", note)


def draft(**changes: Any) -> EventDraft:
    return EventDraft(**{"audience": ["role_rh"], "title": "Title", "message": "Message", **changes})


def columns(events: list[NotificationEvent]) -> list[dict[str, Any]]:
    names = NotificationEvent.__table__.columns.keys()
    return [{name: getattr(event, name) for name in names if name not in OWN} for event in events]


def stored(session: Session) -> list[NotificationEvent]:
    return list(session.scalars(select(NotificationEvent).order_by(NotificationEvent.id)))


DRAFTS = [
    draft(title="First", link="/a", source_user="42", actions=[{"label": "Voir", "link": "/b"}], thread_key="t"),
    EventDraft(event_type="stage_update", data={"action": "created", "stage_id": 7}),
    EventDraft(event_type="stage_update", data={"action": "completed", "stage_id": 7}, source="rows"),
    draft(texts={"en": {"title": "Hi", "message": "<b>All</b>"}}, title=None, message=None, format="rich"),
    EventDraft(event_type="system", audience="user_42", exclude=["role_rh"], title="T", message="M", priority="high"),
]


@pytest.mark.parametrize("version", [None, 1, 2], ids=["catalogue", "template", "template that fails"])
def test_they_are_what_each_would_be_alone_and_in_their_order(
    rh: Company, session: Session, caplog: pytest.LogCaptureFixture, version: int | None
) -> None:
    if version:
        templates.activate(session, "stage_update.completed", "fr", version)
    alone = columns([record_event(session, one) for one in DRAFTS])
    record_events(session, DRAFTS)
    assert columns(stored(session)[len(DRAFTS) :]) == alone
    assert caplog.text.count("template_failed") == (2 if version == 2 else 0)


def test_five_hundred_are_a_handful_of_statements(rh: Company, session: Session, statements: list[str]) -> None:
    record_events(
        session,
        [
            EventDraft(
                event_type="stage_update",
                data={"action": "created" if n % 2 else "completed", "stage_id": 7, "n": n},
                source_user="42",
                idempotency_key=str(n),
            )
            for n in range(500)
        ],
    )
    assert len(statements) <= 12
    assert [event.data["n"] for event in stored(session)] == list(range(500))


def test_the_same_key_is_one_event_whether_it_was_recorded_before_or_comes_twice(rh: Company, session: Session) -> None:
    first = record_event(session, draft(idempotency_key="k"))
    record_events(session, [draft(idempotency_key="k"), *[draft(idempotency_key="other")] * 2, draft(), draft()])
    assert [event.idempotency_key for event in stored(session)] == ["k", "other", None, None]
    assert stored(session)[0].id == first.id


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        (draft(title=""), InvalidInput),
        (draft(audience=["role_ghost"]), UnknownGroup),
        (draft(source_user="ghost"), InvalidInput),
        (draft(title="Other", idempotency_key="k"), Conflict),
    ],
    ids=["title", "audience", "source_user", "key"],
)
def test_one_that_is_refused_takes_all_along(
    rh: Company, session: Session, refused: EventDraft, error: type[Exception]
) -> None:
    record_event(session, draft(idempotency_key="k"))
    session.commit()
    with pytest.raises(error), session.begin_nested():
        record_events(session, [draft(), refused, draft()])
    assert len(stored(session)) == 1


def test_a_key_that_another_transaction_holds_is_waited_for_briefly(
    rh: Company, session: Session, settings: Settings
) -> None:
    with Session(engine(settings)) as other:
        record_event(other, draft(idempotency_key="k"))
        with pytest.raises(Unavailable, match="try again"):
            record_events(session, [draft(idempotency_key="before"), draft(idempotency_key="k")])
        other.rollback()
    record_events(session, [draft(idempotency_key="k")])
    assert [event.idempotency_key for event in stored(session)] == ["k"]


def test_nothing_is_no_statement(session: Session, statements: list[str]) -> None:
    record_events(session, [])
    assert statements == []
