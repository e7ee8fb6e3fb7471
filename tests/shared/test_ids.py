"""Event ids carry time, read exactly in JavaScript, and never collide."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.ids import MAX_EVENT_ID, SEQUENCE_BITS, event_id_time, first_event_id_at
from shared.settings import Settings

NEXT = text("SELECT next_event_id() FROM generate_series(1, :n)")


def made(settings: Settings, n: int) -> list[int]:
    with transaction(settings) as session:
        return list(session.scalars(NEXT, {"n": n}))


def test_an_id_tells_when_it_was_made(settings: Settings) -> None:
    before = datetime.now(UTC)
    event_id = made(settings, 1)[0]
    assert before - timedelta(seconds=1) <= event_id_time(event_id) <= datetime.now(UTC) + timedelta(seconds=1)
    assert event_id <= MAX_EVENT_ID == 2**53 - 1


def test_python_and_sql_count_from_the_same_moment() -> None:
    assert first_event_id_at(datetime(2024, 1, 1, tzinfo=UTC)) == 0
    assert first_event_id_at(datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1 << SEQUENCE_BITS


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 22, 11, 30, 5, tzinfo=UTC),
        datetime(2091, 12, 31, tzinfo=UTC),
    ],
)
def test_time_to_id_and_back_is_the_same(moment: datetime) -> None:
    first = first_event_id_at(moment)
    assert event_id_time(first) == moment
    assert event_id_time(first - 1) == moment - timedelta(seconds=1)
    assert event_id_time(first + (1 << SEQUENCE_BITS) - 1) == moment
    assert first <= MAX_EVENT_ID


def test_the_zone_of_a_moment_does_not_matter_but_there_must_be_one() -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert first_event_id_at(moment.astimezone(tz=datetime.now().astimezone().tzinfo)) == first_event_id_at(moment)
    with pytest.raises(TypeError):
        first_event_id_at(datetime(2026, 7, 1, 12))  # noqa: DTZ001


def test_before_2024_there_are_no_ids() -> None:
    assert first_event_id_at(datetime(1970, 1, 1, tzinfo=UTC)) == 0


def test_ids_of_several_producers_at_once_are_all_different(settings: Settings) -> None:
    ids: list[int] = []
    threads = [threading.Thread(target=lambda: ids.extend(made(settings, 20_000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 80_000


def test_a_long_transaction_s_ids_are_dated_when_they_are_made(settings: Settings) -> None:
    with transaction(settings) as session:
        session.execute(text("SELECT now()"))
        session.execute(text("SELECT pg_sleep(1.1)"))  # the database's clock, which no condition can hurry
        event_id = session.scalars(NEXT, {"n": 1}).one()
        started = session.scalars(text("SELECT now()")).one()
    assert event_id_time(event_id) > started.replace(microsecond=0)
