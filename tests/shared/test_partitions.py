"""Weekly partitions: made ahead, without gaps, without locking anyone out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.database import engine
from shared.ids import first_event_id_at
from shared.migrations import upgrade
from shared.partitions import WEEK, WEEKS_AHEAD, make_partitions
from shared.settings import Settings
from tests.databases import new_database

STORE = text(
    "INSERT INTO notifications (recipient_id, event_id, stored_xid) VALUES (1, :event_id, '1') RETURNING tableoid::regclass::text"
)
EXISTING = text(
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'notifications'::regclass ORDER BY 1"
)
A_SUNDAY = datetime(2027, 3, 28, 23, 59, 59, tzinfo=UTC)


@pytest.fixture(scope="module")
def database(settings: Settings) -> Iterator[Engine]:
    """A database of its own: partitions of other weeks are none of the other tests' business."""
    with new_database(settings) as found:
        upgrade(found)
        yield found


@pytest.fixture
def session(database: Engine) -> Iterator[Session]:
    """Everything is rolled back."""
    with Session(database) as found:
        yield found


def test_they_begin_on_mondays_and_are_named_by_them(session: Session) -> None:
    assert make_partitions(session, A_SUNDAY) == [
        f"notifications_{day}" for day in ("20270315", "20270322", "20270329", "20270405", "20270412", "20270419")
    ]


def test_made_again_there_is_nothing_to_make(session: Session) -> None:
    make_partitions(session, A_SUNDAY)
    assert make_partitions(session, A_SUNDAY) == []
    assert make_partitions(session, A_SUNDAY + timedelta(seconds=1)) == ["notifications_20270426"]


def test_the_zone_of_now_does_not_matter(session: Session) -> None:
    from zoneinfo import ZoneInfo

    make_partitions(session, A_SUNDAY)
    assert make_partitions(session, A_SUNDAY.astimezone(ZoneInfo("Asia/Tokyo"))) == []


def test_every_moment_of_the_coming_weeks_has_exactly_one(session: Session) -> None:
    make_partitions(session, A_SUNDAY)
    monday = datetime(2027, 3, 22, tzinfo=UTC)
    for moment, name in [
        (monday - WEEK, "notifications_20270315"),
        (monday - timedelta(seconds=1), "notifications_20270315"),
        (monday, "notifications_20270322"),
        (A_SUNDAY, "notifications_20270322"),
        (A_SUNDAY + WEEKS_AHEAD * WEEK, "notifications_20270419"),
    ]:
        assert session.scalar(STORE, {"event_id": first_event_id_at(moment)}) == name


@pytest.mark.parametrize("weeks", [-2, WEEKS_AHEAD + 1])
def test_a_row_of_another_time_is_an_error_that_says_so(session: Session, weeks: int) -> None:
    make_partitions(session, A_SUNDAY)
    with pytest.raises(IntegrityError, match="no partition of relation"):
        session.execute(STORE, {"event_id": first_event_id_at(A_SUNDAY + weeks * WEEK)})


def test_a_partition_has_the_keys_and_indexes_of_the_table(session: Session) -> None:
    (name, *_) = make_partitions(session, A_SUNDAY)
    found = session.scalars(text("SELECT indexdef FROM pg_indexes WHERE tablename = :name"), {"name": name}).all()
    assert len(found) == 2
    assert any("UNIQUE" in index and "(recipient_id, event_id)" in index for index in found)
    assert any("read_at IS NULL" in index and "deleted_at IS NULL" in index for index in found)
    values = {"event_id": first_event_id_at(datetime(2027, 3, 16, tzinfo=UTC))}
    session.execute(STORE, values)
    with pytest.raises(IntegrityError, match="duplicate key"):
        session.execute(STORE, values)


def test_a_long_read_does_not_hold_them_up_nor_they_the_readers(database: Engine, session: Session) -> None:
    with Session(database) as reader:
        reader.execute(text("SELECT count(*) FROM notifications"))
        session.execute(text("SET lock_timeout = '2s'"))
        assert make_partitions(session, A_SUNDAY)
        reader.execute(text("SET lock_timeout = '2s'"))
        reader.execute(text("SELECT count(*) FROM notifications"))
        reader.execute(STORE, {"event_id": first_event_id_at(datetime.now(UTC))})


def test_two_at_once_make_each_one_once(database: Engine) -> None:
    with Session(database) as first, Session(database) as second:
        make_partitions(first, A_SUNDAY)
        second.execute(text("SET lock_timeout = '100ms'"))
        with pytest.raises(Exception, match="lock timeout"):
            make_partitions(second, A_SUNDAY)  # waits for the first
        second.rollback()
        first.commit()
        assert make_partitions(second, A_SUNDAY) == []


def test_the_first_migration_makes_those_of_today(settings: Settings) -> None:
    with Session(engine(settings)) as session:
        names: list[Any] = list(session.scalars(EXISTING))
        assert len(names) >= WEEKS_AHEAD + 2
        assert make_partitions(session) == []
