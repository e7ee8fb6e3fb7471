"""Who is in a plan, held against a second, naive reading of the same audience."""

from __future__ import annotations

import random
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.models import EventBatch, NotificationEvent
from shared.settings import Settings
from tests.company import Company
from workers import planning

GROUPS = ("role_rh", "role_tuteur", "stage_1", "stage_2", "entreprise_3")


def record(settings: Settings, *audience: str, **draft: Any) -> int:
    with transaction(settings) as session:
        return record_event(session, EventDraft(audience=list(audience), title="T", message="M", **draft), settings).id


def process(settings: Settings) -> planning.Turn:
    with transaction(settings) as session:
        return planning.process_events(session, settings)


def plan(session: Session, event_id: int) -> list[EventBatch]:
    return list(session.scalars(select(EventBatch).filter_by(event_id=event_id).order_by(EventBatch.n)))


def reached(session: Session, event_id: int) -> dict[str, str]:
    """{person: kind of frame} of a plan; fails when someone is in it twice."""
    found: dict[str, str] = {}
    for batch in plan(session, event_id):
        for person in session.scalars(
            text("SELECT external_id FROM users WHERE id = ANY(:ids)"), {"ids": batch.recipient_ids}
        ):
            assert person not in found, f"{person} is planned twice"
            found[person] = batch.kind
    return found


def stored(session: Session, event_id: int) -> set[str]:
    rows = text("SELECT external_id FROM notifications JOIN users ON id = recipient_id WHERE event_id = :id")
    return set(session.scalars(rows, {"id": event_id}))


def test_any_audience_reaches_whom_a_naive_reading_reaches(
    company: Company, settings: Settings, session: Session
) -> None:
    chance = random.Random(2026)
    people: dict[str, set[str]] = {}
    active: set[str] = set()
    company.groups(*GROUPS)
    for n in range(40):
        person = f"p{n}"
        people[person] = {group for group in GROUPS if chance.random() < 0.4}
        if chance.random() < 0.9:
            active.add(person)
        company.person(person, *sorted(people[person]), is_active=person in active)

    def is_in(person: str, name: str) -> bool:
        return name == "everyone" or name == f"user_{person}" or name in people[person]

    names = [*GROUPS, "everyone", "user_p1", "user_p2", "user_p3"]
    expected: dict[int, dict[str, str]] = {}
    for _ in range(60):
        terms = [" & ".join(chance.sample(names, chance.randint(1, 3))) for _ in range(chance.randint(1, 4))]
        exclude = chance.sample(names, chance.choice([0, 0, 1, 2]))
        want = {}
        for person in active:
            first = next((term for term in terms if all(is_in(person, name) for name in term.split(" & "))), None)
            if first and not any(is_in(person, name) for name in exclude):
                kinds = {"role": "role_notification", "everyone": "system_message"}
                want[person] = kinds.get(first.split(" & ")[0].split("_")[0], "notification")
        expected[record(settings, *terms, exclude=exclude)] = want

    while process(settings).events:
        pass

    for event_id, want in expected.items():
        event = session.get_one(NotificationEvent, event_id)
        assert reached(session, event_id) == want, (event.audience, event.exclude)
        assert stored(session, event_id) == set(want)
        assert (event.status, event.recipient_count) == ("processed", len(want))


def test_a_person_gets_the_texts_of_their_language_or_the_nearest(
    company: Company, settings: Settings, session: Session
) -> None:
    for locale in ("fr", "en", "en-GB", "de", None):
        company.person(str(locale), "role_rh", locale=locale)
    words = {locale: {"title": locale, "message": locale} for locale in ("fr", "en")}
    with transaction(settings) as writing:
        event_id = record_event(writing, EventDraft(audience=["role_rh"], texts=words), settings).id
    process(settings)
    found = {batch.locale: len(batch.recipient_ids) for batch in plan(session, event_id)}
    assert found == {"fr": 3, "en": 2}


def test_an_empty_group_is_processed_with_nobody_in_it(company: Company, settings: Settings, session: Session) -> None:
    company.groups("stage_9")
    event_id = record(settings, "stage_9")
    turn = process(settings)
    assert (turn.events, turn.batches) == ([event_id], [])
    assert session.get_one(NotificationEvent, event_id).recipient_count == 0


def test_a_large_event_changes_lane_and_leaves_the_small_ones_alone(
    company: Company, settings: Settings, session: Session
) -> None:
    company.people([str(n) for n in range(settings.notification_batch_size + 1)], "role_all")
    company.person("one")
    large, small = record(settings, "role_all"), record(settings, "user_one")
    turn = process(settings)
    assert (turn.bulk, turn.events) == ([large], [small])
    assert plan(session, large) == []


def test_a_bulk_plan_cuts_its_people_into_full_batches_once_each(
    company: Company, settings: Settings, session: Session
) -> None:
    size = settings.notification_batch_size
    ids = company.people([str(n) for n in range(2 * size + 7)], "role_all")
    event_id = record(settings, "role_all")
    process(settings)
    with transaction(settings) as planning_session:
        assert planning.plan_bulk_event(planning_session, settings) == (event_id, 3)
    batches = plan(session, event_id)
    assert [len(batch.recipient_ids) for batch in batches] == [size, size, 7]
    assert sorted(one for batch in batches for one in batch.recipient_ids) == sorted(ids)
    assert {batch.stored_at for batch in batches} == {None}


def test_two_workers_never_take_the_same_event(company: Company, settings: Settings) -> None:
    company.person("1")
    event_id = record(settings, "user_1")
    with transaction(settings) as first, transaction(settings) as second:
        assert planning.claim_events(first, bulk=False, limit=10) == [event_id]
        assert planning.claim_events(second, bulk=False, limit=10) == []


def test_a_turn_takes_no_more_people_than_fit_one_transaction(
    company: Company, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.people([str(n) for n in range(40)], "role_rh")
    events = [record(settings, "role_rh") for _ in range(5)]
    monkeypatch.setattr(planning, "PEOPLE_PER_TURN", 100)
    turn = process(settings)
    assert (turn.events, turn.took_all) == (events[:2], False)
    assert process(settings).events == events[2:4]


def test_a_deactivated_person_is_in_no_plan(company: Company, settings: Settings, session: Session) -> None:
    company.person("gone", "role_rh", is_active=False)
    company.person("here", "role_rh")
    event_id = record(settings, "role_rh", "user_gone", "everyone")
    process(settings)
    assert set(reached(session, event_id)) == {"here"}
