"""`stagebloom import-django` against databases that Django made: SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InvalidInput
from shared.ids import event_id_time
from shared.importing import django_import
from shared.importing.mapping import Mapping
from shared.importing.old_events import BAD, LARGE
from shared.importing.old_notifications import TOO_OLD
from shared.importing.parity import Difference
from shared.importing.store import Added
from shared.settings import Settings
from tests.shared.importing.earlier import NOW, RULES, add_notification, change, cli, counts, differences, rows, run


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
    assert report.remarks.counts == {TOO_OLD: 1}
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


def test_an_event_brings_its_data_and_its_actions_category(here: Settings, file: Path) -> None:
    run(here, file)
    found = rows(
        here, "SELECT DISTINCT data::text, idempotency_key LIKE 'event:1:%' FROM notification_events ORDER BY 2"
    )
    assert found[-1] == ('{"action": "created", "détails": ["Été", {"n": 1.5}], "stage_id": 1}', True)
    assert found[0] == ("{}", False), "without an event there are none"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (json.dumps({"text": "é" * 3000}), LARGE),  # 18 kB as JSON escapes it
        (json.dumps({"text": "e" * 1_000_000}), LARGE),
        (json.dumps({"a": json.loads("[" * 60 + "]" * 60)}), BAD),
        ('{"a":' * 10_000, BAD),
        ("[1, 2]", BAD),
        ('{"a": "\\u0000"}', BAD),
        ('{"a": "\\ud800"}', BAD),
        ('{"a": NaN}', BAD),
        ('{"a": 1', BAD),
        (b"\xff\xfe", BAD),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_data_that_do_not_fit_are_left_out_and_reported_once_and_the_notifications_come(
    here: Settings, file: Path, data: str | bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 2)  # the event's people come in several chunks
    with sqlite3.connect(file) as old:
        old.execute("PRAGMA ignore_check_constraints = on")  # Django's, that it be JSON
        old.execute("UPDATE notification_service_notificationevent SET event_data = ?", [data])
    report = run(here, file)
    assert report.notifications_added == 8
    assert report.remarks.counts[reason] == 1
    assert report.remarks.examples[reason] == ["1"]
    assert rows(here, "SELECT DISTINCT data FROM notification_events") == [({},)]
    assert differences(here, file) == []


def test_an_event_without_data_has_none(here: Settings, file: Path) -> None:
    for data in ("NULL", "'null'", "'{}'", "''"):
        with sqlite3.connect(file) as old:
            old.execute("PRAGMA ignore_check_constraints = on")
            old.execute("PRAGMA writable_schema = on")
            old.execute(
                "UPDATE sqlite_schema SET sql = replace(sql, '\"event_data\" text NOT NULL', '\"event_data\" text')"
            )
            old.execute("PRAGMA writable_schema = reset")
            old.execute(f"UPDATE notification_service_notificationevent SET event_data = {data}")
        assert run(here, file, dry_run=True).remarks.counts == {TOO_OLD: 1}


def test_an_events_audience_is_everyone_who_got_it_in_whatever_chunk_and_run(
    here: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 3)
    run(here, file)
    audience = rows(here, "SELECT audience FROM notification_events ORDER BY id")[0][0]
    assert sorted(audience) == [["user_2"], ["user_3"], ["user_4"], ["user_5"]]

    add_notification(
        file,
        recipient_id=1,
        title="Stage commencé",
        message="Été à Besançon",
        notification_type="success",
        event_id=1,
        created_at=rows(here, "SELECT min(created_at) FROM notification_events")[0][0].strftime("%Y-%m-%d %H:%M:20"),
    )
    assert run(here, file).events_added == 0
    audience = rows(here, "SELECT audience FROM notification_events ORDER BY id")[0][0]
    assert sorted(audience) == [["user_1"], ["user_2"], ["user_3"], ["user_4"], ["user_5"]]


def test_an_event_for_more_than_100_people_names_none_of_them(
    here: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 60)
    with sqlite3.connect(file) as old:
        old.execute(f"""
            WITH RECURSIVE many (n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM many WHERE n < 249)
            INSERT INTO accounts_user (id, username, first_name, last_name, email, role, password, is_superuser, is_staff, is_active, date_joined)
            SELECT n, 'p' || n, '', '', '', 'stagiaire', '', 0, 0, 1, '{NOW:%Y-%m-%d}' FROM many
        """)
        old.execute(f"""
            INSERT INTO notification_service_notification (recipient_id, title, message, notification_type, is_read, created_at)
            SELECT id, 'À tous', '…', 'info', 0, '{NOW:%Y-%m-%d %H:%M:%S}' FROM accounts_user WHERE id >= 100
        """)
    assert run(here, file).notifications_added == 158
    found = rows(here, "SELECT audience, recipient_count FROM notification_events ORDER BY id DESC LIMIT 1")
    assert found == [([], 150)]


def test_the_check_sees_other_words(here: Settings, file: Path) -> None:
    run(here, file)
    rows(
        here,
        """UPDATE notification_events SET texts = jsonb_set(texts, '{fr,message}', '"Ete a Besancon"')
           WHERE texts->'fr'->>'title' = 'Maintenance' RETURNING 1""",
    )
    assert [(one.person, one.what) for one in differences(here, file)] == [("1", "words"), ("6", "words")]


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
    assert counts(here) == before | {"audit_log": before["audit_log"] + 2}  # it begins and ends

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

        def stopping(*arguments: Any, calls: Iterator[int] = calls, stop_after: int = stop_after) -> Added:
            added = write(*arguments)
            if next(calls) == stop_after:
                raise KeyboardInterrupt
            return added

        monkeypatch.setattr(django_import, "add_notifications", stopping)
        with contextlib.suppress(KeyboardInterrupt):
            run(here, file)
    monkeypatch.setattr(django_import, "add_notifications", write)
    run(here, file)
    found = counts(here)
    assert [found[name] for name in ("users", "memberships", "notification_events", "notifications")] == [6, 7, 4, 8]
    assert rows(here, "SELECT recipient_count FROM notification_events ORDER BY id") == [(4,), (1,), (2,), (1,)]
    assert differences(here, file) == []


def test_a_dry_run_changes_nothing_and_counts_everything(here: Settings, file: Path) -> None:
    empty = counts(here)
    partitions = rows(here, "SELECT inhrelid::regclass::text FROM pg_inherits ORDER BY 1")
    report = run(here, file, dry_run=True)
    assert (report.people_added, report.notifications_taken, report.notifications_added) == (6, 8, 0)
    assert report.remarks.counts == {TOO_OLD: 1}
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
    assert sum(report.remarks.counts.values()) == 8
    assert {reason.split(":")[0] for reason in report.remarks.counts} == {"notification", "person taken without role"}
    assert report.remarks.examples["notification: nobody has the recipient's id"] == ["13"]
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


def test_the_command_imports_from_postgresql_and_checks(here: Settings, postgresql: str) -> None:
    dry = cli(here, postgresql, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert json.loads(dry.stdout)["notifications_taken"] == 8

    missing = cli(here, postgresql, "--check")
    assert missing.returncode == 1
    assert "6 people with 8 notifications compared: 6 differences." in missing.stdout

    done = cli(here, postgresql)
    assert done.returncode == 0, done.stderr
    assert "6 of 6 people added; 8 of 9 notifications, as 4 events" in done.stdout
    assert "--all takes it" in done.stdout
    assert rows(here, "SELECT actor, action, details FROM audit_log WHERE action = 'import.django' ORDER BY id") == [
        ("cli", "import.django", {"state": "begun"}),
        ("cli", "import.django", {"state": "ended", "people": 6, "notifications": 8}),
    ]

    same = cli(here, postgresql, "--check", "--json")
    assert same.returncode == 0, same.stdout
    assert json.loads(same.stdout) == {"people": 6, "notifications": 8, "differences": 0, "first": []}
