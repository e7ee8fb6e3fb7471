"""What is old goes: archived first if wanted, at once, and without making anyone wait."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import archive, partitions
from shared.database import engine, transaction
from shared.errors import InvalidInput, NotFound
from shared.events import EventDraft, record_event
from shared.ids import first_event_id_at
from shared.migrations import upgrade
from shared.partitions import drop_partition, list_partitions, make_partitions, outdated_partitions
from shared.settings import Settings
from shared.statistics import MAX_DAYS, system_counts
from tests.company import STORE, Company
from tests.databases import new_database
from workers import cleaning, retention, upkeep_tasks

MANY = 200_000
LONG_AGO = datetime(2026, 1, 14, 12, tzinfo=UTC)  # a Wednesday
EVENT = text("UPDATE notification_events SET id = :id, status = 'processed' WHERE id = :made")
FILL = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid)
    SELECT n, :event_id, pg_current_xact_id() FROM generate_series(1000, 999 + CAST(:count AS integer)) AS n
""")


@pytest.fixture
def old(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A database of its own, with the partitions of a January long gone; archives wanted."""
    with new_database(settings) as database:
        upgrade(database)
        address = database.url.render_as_string(hide_password=False)
        own = settings.model_copy(update={"database_url": address, "notification_archive_dir": tmp_path / "archive"})
        with Session(database) as session, session.begin():
            make_partitions(session, LONG_AGO)
        yield own
        engine(own).dispose()


@pytest.fixture
def doors(old: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The doors of `workers.upkeep_tasks`, on that database."""
    monkeypatch.setattr(upkeep_tasks, "get_settings", lambda: old)
    monkeypatch.setattr(upkeep_tasks, "transaction", lambda: transaction(old))
    return old


@pytest.fixture
def staff(old: Settings) -> Company:
    """People 1 to 3 of that database."""
    found = Company(old)
    found.people(["1", "2", "3"], "role_rh")
    return found


def notify_at(staff: Company, moment: datetime, *people: str, **draft: Any) -> int:
    """An event of another time, with its notifications."""
    with transaction(staff.settings) as session:
        made = record_event(
            session, EventDraft(**{"audience": "role_rh", "title": "T", "message": "M", **draft}), staff.settings
        )
        event_id = first_event_id_at(moment) + made.id % 4_000_000
        session.execute(EVENT, {"id": event_id, "made": made.id})
        session.execute(STORE, {"event_id": event_id, "ids": list(people)})
    return event_id


def names(settings: Settings) -> set[str]:
    with transaction(settings) as session:
        return {partition.name for partition in list_partitions(session)}


def test_a_week_goes_when_all_of_it_is_older_than_the_retention(old: Settings) -> None:
    with transaction(old) as session:
        end_of_week = datetime(2026, 1, 12, tzinfo=UTC)
        for moment, gone in (
            (end_of_week, []),
            (end_of_week + timedelta(days=9), []),
            (end_of_week + timedelta(days=10), ["notifications_20260105"]),
        ):
            assert [one.name for one in outdated_partitions(session, timedelta(days=10), moment)] == gone


def test_with_the_shortest_retention_nothing_is_dropped_that_would_be_made_again(old: Settings) -> None:
    with transaction(old) as session:
        for days in range(14):
            now = LONG_AGO + timedelta(days=days)
            dropped = outdated_partitions(session, timedelta(days=1), now)
            for one in dropped:
                drop_partition(session, one)
            assert not {one.name for one in dropped} & set(make_partitions(session, now))


def test_what_is_old_is_archived_and_dropped_and_what_is_young_stays(doors: Settings, staff: Company) -> None:
    gone = notify_at(staff, LONG_AGO, "1", "2", title="Réunion à 14 h", message='Salle "Éluard"\n\\o/')
    alone = notify_at(staff, LONG_AGO + timedelta(hours=1), title="Personne")
    kept = staff.notify("1")
    with transaction(doors) as session:
        session.execute(
            text("UPDATE notifications SET read_at = now() WHERE event_id = :id AND recipient_id = 1"), {"id": gone}
        )
    upkeep_tasks.clean_up()
    assert not any(name.startswith("notifications_2026010") for name in names(doors))
    with transaction(doors) as session:
        assert list(session.scalars(text("SELECT id FROM notification_events"))) == [kept]
        assert list(session.scalars(text("SELECT event_id FROM notifications"))) == [kept]

    assert doors.notification_archive_dir
    found = archive.find_archive(doors.notification_archive_dir, "notifications_20260112")
    assert (found.events, found.notifications) == (2, 2)
    assert [event["id"] for event in archive.read_events(found)] == [gone, alone]
    first, second = archive.read_archive(found)
    assert (first["person"], second["person"]) == ("1", "2")
    assert "read_at" in first
    assert "read_at" not in second
    assert first["event"]["texts"] == {"fr": {"title": "Réunion à 14 h", "message": 'Salle "Éluard"\n\\o/'}}
    assert [one["person"] for one in archive.read_archive(found, "2")] == ["2"]
    assert "content_hash" not in first["event"]
    assert found.path.stat().st_mode & 0o077 == 0


def test_done_again_there_is_nothing_to_do(doors: Settings, staff: Company) -> None:
    notify_at(staff, LONG_AGO, "1")
    upkeep_tasks.clean_up()
    before = names(doors)
    upkeep_tasks.clean_up()
    assert names(doors) == before


def test_without_a_directory_it_is_only_dropped(
    doors: Settings, staff: Company, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        upkeep_tasks, "get_settings", lambda: doors.model_copy(update={"notification_archive_dir": None})
    )
    notify_at(staff, LONG_AGO, "1")
    upkeep_tasks.clean_up()
    assert staff.count("notifications") == 0
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_archived_is_not_dropped(doors: Settings, staff: Company, tmp_path: Path) -> None:
    notify_at(staff, LONG_AGO, "1")
    (tmp_path / "archive").write_text("a file where the directory should be")
    upkeep_tasks.clean_up()
    assert "notifications_20260112" in names(doors)
    assert staff.count("notification_events") == 1


def test_an_archive_that_lacks_a_line_is_refused_and_leaves_nothing(
    doors: Settings, staff: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify_at(staff, LONG_AGO, "1", "2")
    whole = archive._lines
    monkeypatch.setattr(archive, "_lines", lambda *given: list(whole(*given))[:-1])
    upkeep_tasks.clean_up()
    assert "notifications_20260112" in names(doors)
    assert doors.notification_archive_dir
    assert "notifications_20260112" not in {one.name for one in archive.list_archives(doors.notification_archive_dir)}
    assert [one for one in doors.notification_archive_dir.iterdir() if one.name.startswith(".")] == []
    monkeypatch.setattr(archive, "_lines", whole)
    upkeep_tasks.clean_up()
    assert staff.count("notifications") == 0


def test_what_a_killed_worker_left_of_an_archive_is_removed(doors: Settings, staff: Company) -> None:
    notify_at(staff, LONG_AGO, "1")
    assert doors.notification_archive_dir
    doors.notification_archive_dir.mkdir()
    (doors.notification_archive_dir / ".notifications_20260112.jsonl.gz.0badc0de").write_bytes(b"half")
    upkeep_tasks.clean_up()
    assert [one.name for one in doors.notification_archive_dir.iterdir() if one.name.startswith(".")] == []


def test_an_archive_that_could_not_be_followed_by_its_drop_is_not_written_again(
    doors: Settings, staff: Company
) -> None:
    notify_at(staff, LONG_AGO, "1")
    with Session(engine(doors)) as reader:
        reader.execute(text("SELECT count(*) FROM notifications_20260112"))
        upkeep_tasks.clean_up()  # waits 200 ms for the reader, then leaves it
    assert "notifications_20260112" in names(doors)
    assert doors.notification_archive_dir
    written = archive.find_archive(doors.notification_archive_dir, "notifications_20260112").path.stat().st_ino
    upkeep_tasks.clean_up()
    assert "notifications_20260112" not in names(doors)
    assert archive.find_archive(doors.notification_archive_dir, "notifications_20260112").path.stat().st_ino == written


def test_a_week_of_which_a_batch_is_still_to_be_stored_stays(doors: Settings, staff: Company) -> None:
    event_id = notify_at(staff, LONG_AGO)
    with transaction(doors) as session:
        session.execute(
            text(
                "INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids) VALUES (:id, 0, 'notification', 'fr', '{1}')"
            ),
            {"id": event_id},
        )
    upkeep_tasks.clean_up()
    assert "notifications_20260112" in names(doors)
    assert "notifications_20260105" not in names(doors)
    assert staff.count("notification_events") == 1


def test_two_workers_at_once_do_it_once(doors: Settings, staff: Company) -> None:
    notify_at(staff, LONG_AGO, "1")
    with Session(engine(doors)) as other:
        other.execute(retention.LOCK)
        upkeep_tasks.clean_up()
        assert not (doors.notification_archive_dir and doors.notification_archive_dir.exists())
        assert "notifications_20260112" in names(doors)
    upkeep_tasks.clean_up()
    assert "notifications_20260112" not in names(doors)


def test_dropping_a_large_week_takes_under_a_second_and_nobody_waits(doors: Settings, staff: Company) -> None:
    """200,000 rows; `python -m benchmarks.retention` does it with ten million."""
    event_id = notify_at(staff, LONG_AGO)
    with transaction(doors) as session:
        session.execute(FILL, {"event_id": event_id, "count": MANY})
    young = first_event_id_at(datetime.now(UTC))
    waits: dict[str, list[float]] = {"reading": [], "writing": []}
    is_over = threading.Event()

    def work(name: str, statement: str) -> None:
        n = 0
        while not is_over.is_set():
            n += 1
            started = time.monotonic()
            with transaction(doors) as session:
                session.execute(text(statement), {"event_id": young, "n": n})
            waits[name].append(time.monotonic() - started)

    workers = [
        threading.Thread(
            target=work,
            args=(
                "reading",
                "SELECT event_id FROM notifications WHERE recipient_id = 1 AND event_id <= :event_id AND :n > 0 ORDER BY event_id DESC LIMIT 20",
            ),
        ),
        threading.Thread(
            target=work,
            args=(
                "writing",
                "INSERT INTO notifications (recipient_id, event_id, stored_xid) VALUES (:n, :event_id, pg_current_xact_id())",
            ),
        ),
    ]
    for worker in workers:
        worker.start()
    outdated = [one for one in _outdated(doors) if one.name == "notifications_20260112"]
    started = time.monotonic()
    with transaction(doors) as session:
        assert retention.drop_week(session, outdated[0])
    took = time.monotonic() - started
    is_over.set()
    for worker in workers:
        worker.join()
    longest = {name: max(seconds) for name, seconds in waits.items()}
    print(f"dropped {MANY:,} in {1e3 * took:.0f} ms; longest wait {longest}")
    assert took < 1
    assert max(longest.values()) < 1


def _outdated(settings: Settings) -> list[partitions.Partition]:
    with transaction(settings) as session:
        return retention.find_outdated(session, settings)


def test_a_drop_that_meets_a_long_reader_gives_up_and_lets_the_others_go_on(doors: Settings, staff: Company) -> None:
    notify_at(staff, LONG_AGO, "1")
    with Session(engine(doors)) as reader:
        reader.execute(text("SELECT count(*) FROM notifications"))
        started = time.monotonic()
        upkeep_tasks.clean_up()
        assert time.monotonic() - started < 10
        reader.execute(text("SELECT count(*) FROM notifications"))
    assert "notifications_20260112" in names(doors)


def test_plans_stay_a_day_after_they_were_published_and_the_counts_for_good(doors: Settings, staff: Company) -> None:
    now = datetime.now(UTC)
    ids = [notify_at(staff, now - age) for age in (timedelta(days=3), timedelta(days=3), timedelta(hours=2))]
    with transaction(doors) as session:
        for event_id, published in zip(ids, (now - timedelta(hours=26), now - timedelta(hours=24), None), strict=True):
            session.execute(
                text("INSERT INTO event_batches VALUES (:id, 0, 'notification', 'fr', '{1}', '1', now(), :published)"),
                {"id": event_id, "published": published},
            )
        session.execute(text("UPDATE notification_events SET recipient_count = 1"))
    upkeep_tasks.clean_up()
    with transaction(doors) as session:
        assert set(session.scalars(text("SELECT event_id FROM event_batches"))) == set(ids[1:])
        assert list(session.scalars(text("SELECT recipient_count FROM notification_events"))) == [1, 1, 1]


def test_rows_go_in_small_pieces_and_what_someone_holds_is_left_for_later(doors: Settings, staff: Company) -> None:
    ids = [notify_at(staff, LONG_AGO) for _ in range(5)]
    (rule,) = (one for one in cleaning.RULES if one.table == "notification_events")
    with transaction(doors) as session:
        limits = {
            **cleaning.find_limits(session, doors),
            "retained_id": first_event_id_at(LONG_AGO + timedelta(days=1)),
        }
    with Session(engine(doors)) as holder:
        holder.execute(text("SELECT FROM notification_events WHERE id = :id FOR UPDATE"), {"id": ids[0]})
        with transaction(doors) as session:
            assert cleaning.delete_some(session, rule, limits, rows=2) == 2
        with transaction(doors) as session:
            assert cleaning.delete_some(session, rule, limits, rows=10) == 2
    assert staff.count("notification_events") == 1


def test_records_of_who_did_what_and_counts_of_days_stay_a_year(doors: Settings) -> None:
    with transaction(doors) as session:
        session.execute(
            text(
                "INSERT INTO audit_log (at, actor, action) SELECT now() - make_interval(days => days), 'cli', 'x' FROM unnest(ARRAY[1, 364, 366]) AS days"
            )
        )
        session.execute(
            text(
                "INSERT INTO daily_counts (day, role, notification_type, category) SELECT (now() AT TIME ZONE 'UTC')::date - days, '', 'info', 'X' FROM unnest(ARRAY[0, 365, 366]) AS days"
            )
        )
    upkeep_tasks.clean_up()
    with transaction(doors) as session:
        assert session.scalar(text("SELECT count(*) FROM audit_log WHERE action = 'x'")) == 2
        assert min(system_counts(session, MAX_DAYS)["by_day"]) == system_counts(session, MAX_DAYS)["since"]
        assert session.scalar(text("SELECT count(*) FROM daily_counts")) == 2


def test_every_rule_names_a_table_and_rows_that_can_be_asked_for(old: Settings) -> None:
    with transaction(old) as session:
        limits = cleaning.find_limits(session, old)
        for rule in cleaning.RULES:
            assert cleaning.delete_some(session, rule, limits) == 0


def test_an_archive_is_rewritten_without_a_person(doors: Settings, staff: Company) -> None:
    notify_at(staff, LONG_AGO, "1", "2", "3")
    upkeep_tasks.clean_up()
    assert doors.notification_archive_dir
    found = archive.find_archive(doors.notification_archive_dir, "notifications_20260112")
    assert archive.rewrite_archive(found, lambda line: None if line.get("person") == "2" else line)
    again = archive.find_archive(doors.notification_archive_dir, "notifications_20260112")
    assert (again.events, again.notifications) == (1, 2)
    assert [one["person"] for one in archive.read_archive(again)] == ["1", "3"]
    assert not archive.rewrite_archive(again, lambda line: line)


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.jsonl.gz", "wb") as file:
        file.write(b"{}\n")
    with pytest.raises(InvalidInput, match=r"x\.jsonl\.gz can't be read"):
        archive.find_archive(tmp_path, "x")
    for name in ("y", "../x", "."):
        with pytest.raises(NotFound):
            archive.find_archive(tmp_path, name)
