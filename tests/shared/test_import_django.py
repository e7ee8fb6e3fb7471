"""`stagebloom import-django` against databases that Django made: SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.errors import InvalidInput
from shared.ids import event_id_time
from shared.importing import django_import
from shared.importing.django_import import Report, import_all
from shared.importing.django_source import Mapping, open_source
from shared.importing.old_rows import TOO_OLD, Rules, taken_since
from shared.importing.parity import Difference, compare
from shared.migrations import upgrade
from shared.partitions import WEEK, list_partitions
from shared.settings import Settings
from tests.databases import new_database
from tests.shared.test_cli import ROOT, stagebloom

NOW = datetime.now(UTC)
RULES = Rules(taken_since(NOW, 30), NOW)
TABLES = ("users", "groups", "memberships", "notification_events", "notifications", "audit_log")


def make_old(address: str) -> None:
    command = [sys.executable, "-m", "tests.shared.old_django.make", address, NOW.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "db.sqlite3"
    make_old(f"sqlite:///{path}")
    return path


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """The earlier system's SQLite file, to break."""
    return Path(shutil.copy(made, tmp_path / "old.sqlite3"))


@pytest.fixture(scope="module")
def installation(settings: Settings) -> Iterator[Settings]:
    """A database of its own: partitions of old weeks are none of the other tests' business."""
    with new_database(settings) as database:
        upgrade(database)
        yield settings.model_copy(update={"database_url": database.url.render_as_string(hide_password=False)})


@pytest.fixture
def here(installation: Settings) -> Settings:
    """The new installation, without anybody and without the weeks that an import has made."""
    with transaction(installation) as session:
        for table in reversed(TABLES):
            session.execute(text(f"DELETE FROM {table}"))
        for partition in list_partitions(session):
            if partition.ends_at < NOW - WEEK:
                session.execute(text(f"DROP TABLE {partition.name}"))
    return installation


def run(
    here: Settings, file: Path, rules: Rules = RULES, mapping: Mapping | None = None, *, dry_run: bool = False
) -> Report:
    report = Report()
    with open_source(f"sqlite:///{file}", mapping or Mapping()) as source:
        for found in import_all(here, source, rules, dry_run=dry_run):
            report = found
    return report


def differences(here: Settings, file: Path, rules: Rules = RULES) -> list[Difference]:
    with open_source(f"sqlite:///{file}", Mapping()) as source:
        return [one for chunk in compare(here, source, rules) for one in chunk.differences]


def rows(here: Settings, statement: str) -> list[Any]:
    with transaction(here) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def counts(here: Settings) -> dict[str, int]:
    return {table: rows(here, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def change(file: Path, *statements: str) -> None:
    with sqlite3.connect(file) as connection:
        for statement in statements:
            connection.execute(statement)


def cli(here: Settings, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    return stagebloom(
        "import-django", "--source", source, *options, DATABASE_URL=here.database.replace("+psycopg2", "")
    )


def test_people_come_with_name_address_activity_role_and_stage(here: Settings, file: Path) -> None:
    assert run(here, file).people_added == 6
    found = rows(
        here,
        """
        SELECT external_id, name, email, is_active, ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1)
        FROM users ORDER BY external_id
    """,
    )
    assert found == [
        ("1", "Éléonore Müller", "eleonore@example.test", True, ["role_admin"]),
        ("2", "Tom", "tom@example.test", True, ["role_tuteur", "stage_1"]),
        ("3", "Aïcha N’Diaye", "aicha@example.test", True, ["role_stagiaire", "stage_1"]),
        ("4", "samir", "samir@example.test", True, ["role_stagiaire"]),
        ("5", "Zoé", "zoe@example.test", False, ["role_stagiaire"]),
        ("6", "personne", "personne@example.test", True, []),
    ]


def test_notifications_keep_words_type_read_state_and_time_and_one_event_stays_one(here: Settings, file: Path) -> None:
    report = run(here, file)
    assert (report.notifications, report.notifications_added, report.events_added) == (9, 8, 4)
    assert report.refusals.counts == {TOO_OLD: 1}
    found = rows(
        here,
        """
        SELECT texts->'fr'->>'title', texts->'fr'->>'message', notification_type, event_type, category, status, recipient_count,
               count(*), count(read_at)
        FROM notification_events event JOIN notifications ON event_id = id GROUP BY event.id ORDER BY event.id
    """,
    )
    assert found == [
        ("Stage commencé", "Été à Besançon", "success", "stage_update", "STAGE_UPDATE", "processed", 4, 4, 1),
        ("Stage commencé", "Été à Besançon", "success", "stage_update", "STAGE_UPDATE", "processed", 1, 1, 0),
        ("Maintenance", "Été à Besançon", "warning", "system", "SYSTEM", "processed", 2, 2, 2),
        ("Bonjour Aïcha", "Pour vous seule", "info", "system", "SYSTEM", "processed", 1, 1, 0),
    ]
    for event_id, created_at in rows(here, "SELECT id, created_at FROM notification_events"):
        assert event_id_time(event_id) == created_at.replace(microsecond=0)
    assert rows(here, "SELECT count(*) FROM event_batches") == [(0,)], "nothing is sent again"
    assert differences(here, file) == []


def test_a_second_run_adds_what_is_new_and_doubles_nothing(here: Settings, file: Path) -> None:
    run(here, file)
    before = counts(here)
    again = run(here, file)
    assert (again.people_added, again.notifications_added, again.events_added, again.notifications_marked_read) == (
        0,
        0,
        0,
        0,
    )
    assert counts(here) == before

    change(
        file,
        "UPDATE notification_service_notification SET is_read = 1 WHERE title = 'Bonjour Aïcha'",
        "INSERT INTO notification_service_notification (recipient_id, title, message, notification_type, is_read, created_at)"
        f" VALUES (4, 'Nouveau', '…', 'info', 0, '{NOW:%Y-%m-%d %H:%M:%S}')",
    )
    later = run(here, file)
    assert (later.notifications_added, later.events_added, later.notifications_marked_read) == (1, 1, 1)
    assert differences(here, file) == []


def test_who_is_here_already_stays_as_they_are(here: Settings, file: Path) -> None:
    run(here, file)
    rows(here, "UPDATE users SET name = 'Changed' WHERE external_id = '2' RETURNING 1")
    rows(here, "DELETE FROM memberships WHERE group_name = 'role_admin' RETURNING 1")
    run(here, file)
    assert differences(here, file) == [
        Difference("1", "groups", ["role_admin"], []),
        Difference("2", "name", "Tom", "Changed"),
    ]


def test_interrupted_anywhere_it_goes_on(here: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped in each chunk of two rows in turn, just before its commit."""
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 2)
    write = django_import.add_notifications
    for stop_after in range(1, 6):
        calls = iter(range(1, 100))

        def stopping(*arguments: Any, calls: Iterator[int] = calls, stop_after: int = stop_after) -> None:
            write(*arguments)
            if next(calls) == stop_after:
                raise KeyboardInterrupt

        monkeypatch.setattr(django_import, "add_notifications", stopping)
        with contextlib.suppress(KeyboardInterrupt):
            run(here, file)
    monkeypatch.setattr(django_import, "add_notifications", write)
    run(here, file)
    assert counts(here) | {"groups": 0} == {
        "users": 6,
        "groups": 0,
        "memberships": 7,
        "notification_events": 4,
        "notifications": 8,
        "audit_log": 0,
    }
    assert rows(here, "SELECT recipient_count FROM notification_events ORDER BY id") == [(4,), (1,), (2,), (1,)]
    assert differences(here, file) == []


def test_a_dry_run_changes_nothing_and_counts_everything(here: Settings, file: Path) -> None:
    empty = counts(here)
    partitions = rows(here, "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")
    report = run(here, file, dry_run=True)
    assert (report.people_added, report.notifications_taken, report.notifications_added) == (6, 8, 0)
    assert report.refusals.counts == {TOO_OLD: 1}
    assert counts(here) == empty
    assert rows(here, "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1") == partitions


def test_all_takes_what_is_older_into_weeks_of_its_own(here: Settings, file: Path) -> None:
    everything = replace(RULES, since=None)
    assert run(here, file, everything).notifications_added == 9
    assert differences(here, file, everything) == []


def test_broken_rows_are_refused_with_a_reason_and_the_rest_comes(here: Settings, file: Path) -> None:
    broken = [
        ("3", "'No time'", "'info'", "'yesterday'"),
        ("3", "'Too early'", "'info'", "'1999-01-01 00:00:00'"),
        ("3", "'Too late'", "'info'", "'2999-01-01 00:00:00'"),
        ("99", "'Nobody'", "'info'", f"'{NOW:%Y-%m-%d %H:%M:%S}'"),
        ("3", "' '", "'info'", f"'{NOW:%Y-%m-%d %H:%M:%S}'"),
        ("3", "'a' || char(0)", "'info'", f"'{NOW:%Y-%m-%d %H:%M:%S}'"),
        ("3", "'Type'", "'reminder'", f"'{NOW:%Y-%m-%d %H:%M:%S}'"),
    ]
    change(
        file,
        "UPDATE accounts_user SET role = 'chef de projet' WHERE id = 4",
        *(
            "INSERT INTO notification_service_notification (recipient_id, title, message, notification_type, is_read, created_at)"
            f" VALUES ({recipient}, {title}, 'm', {kind}, 0, {when})"
            for recipient, title, kind, when in broken
        ),
    )
    report = run(here, file, replace(RULES, since=None))
    assert report.notifications_added == 9
    assert sum(report.refusals.counts.values()) == 8
    assert {reason.split(":")[0] for reason in report.refusals.counts} == {"notification", "person taken without role"}
    assert report.refusals.examples["notification: nobody has the recipient's id"] == ["13"]
    assert differences(here, file, replace(RULES, since=None)) == []

    mapped = run(here, file, replace(RULES, types={"reminder": "warning"}))
    assert mapped.notifications_added == 1


def test_tables_and_columns_may_have_other_names(here: Settings, file: Path) -> None:
    change(
        file,
        "ALTER TABLE accounts_user RENAME TO people",
        "ALTER TABLE people RENAME COLUMN role TO fonction",
        "DROP TABLE notification_service_notificationevent",
    )
    with pytest.raises(
        InvalidInput, match="--users-table: expected a table of the source database, got 'accounts_user'"
    ):
        run(here, file)
    with pytest.raises(InvalidInput, match="--role-column: expected a column of people: id"):
        run(here, file, mapping=Mapping(users_table="people", role_column="rôle"))
    run(here, file, mapping=Mapping(users_table="people", role_column="fonction"))
    assert rows(here, "SELECT count(*) FROM memberships WHERE group_name = 'role_stagiaire'") == [(3,)]


def test_the_earlier_database_is_only_read(here: Settings, file: Path) -> None:
    before = file.read_bytes()
    file.chmod(0o400)
    run(here, file)
    assert file.read_bytes() == before


def test_the_command_imports_from_postgresql_and_checks(settings: Settings, here: Settings) -> None:
    with new_database(settings) as database:
        address = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        make_old(address)
        dry = cli(here, address, "--dry-run", "--json")
        assert dry.returncode == 0, dry.stderr
        assert json.loads(dry.stdout)["notifications_taken"] == 8

        missing = cli(here, address, "--check")
        assert missing.returncode == 1
        assert "6 people with 8 notifications compared: 6 differences." in missing.stdout

        done = cli(here, address)
        assert done.returncode == 0, done.stderr
        assert "6 of 6 people added; 8 of 9 notifications, as 4 events" in done.stdout
        assert "--all takes it" in done.stdout
        assert rows(here, "SELECT actor, action, details FROM audit_log") == [
            ("cli", "import.django", {"people": 6, "notifications": 8})
        ]

        same = cli(here, address, "--check", "--json")
        assert same.returncode == 0, same.stdout
        assert json.loads(same.stdout) == {"people": 6, "notifications": 8, "differences": 0, "first": []}


@pytest.mark.parametrize("source", ["nonsense", "mysql://host/name"])
def test_a_source_that_can_not_be_read_is_refused_in_one_line(here: Settings, source: str) -> None:
    done = cli(here, source)
    assert done.returncode == 1
    assert "--source: expected postgresql://" in done.stderr
    assert "Traceback" not in done.stderr
