"""Earlier systems that are not as they should be: a clear line for each, and nothing wrong stored."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg2
import pytest
from sqlalchemy import make_url, text

from shared.commands.import_django import print_report
from shared.database import engine, transaction
from shared.errors import InvalidInput, Unavailable
from shared.importing.django_import import import_all
from shared.importing.django_source import open_source
from shared.importing.mapping import Mapping
from shared.importing.old_notifications import TOO_OLD
from shared.importing.rules import Remarks
from shared.partitions import make_partitions
from shared.settings import Settings
from tests.shared.importing.earlier import NOW, RULES, add_notification, change, cli, counts, differences, rows, run

GROUPS = """
    SELECT external_id, ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1)
    FROM users ORDER BY external_id::integer
"""


def at(**ago: float) -> str:
    """A time as Django keeps it in SQLite."""
    return f"{NOW - timedelta(**ago):%Y-%m-%d %H:%M:%S.%f}"


def beyond(remarks: Remarks) -> dict[str, list[str]]:
    """Reasons and examples, but for the one in every import of these rows."""
    return {reason: ids for reason, ids in remarks.examples.items() if reason != TOO_OLD}


def execute(address: str, *statements: str) -> None:
    connection = psycopg2.connect(address)
    connection.set_client_encoding("UTF8")
    with connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def test_a_source_that_can_not_be_opened_is_one_line(here: Settings, postgresql: str, tmp_path: Path) -> None:
    (tmp_path / "text.sqlite3").write_text("no database at all" * 100)
    (tmp_path / "empty.sqlite3").touch()
    url = make_url(postgresql)
    for source, said in (
        (url.set(password="wrong").render_as_string(hide_password=False), "--source: .*password authentication failed"),
        (url.set(database="nothing").render_as_string(hide_password=False), '--source: .*"nothing" does not exist'),
        (url.set(port=1).render_as_string(hide_password=False), "--source: .*Connection refused"),
        (tmp_path / "missing.sqlite3", "--source: unable to open database file"),
        (tmp_path, "--source: disk I/O error|--source: unable to open database file"),
        (tmp_path / "text.sqlite3", "--source: file is not a database"),
    ):
        with pytest.raises(Unavailable, match=said):
            run(here, source)
    for source in (
        "nonsense",
        "mysql://host/name",
        "postgresql://host:port/name",
        "postgresql://host",
        "sqlite://",
        "",
    ):
        with pytest.raises(InvalidInput, match="--source: expected postgresql://"):
            run(here, source)
    with pytest.raises(InvalidInput, match="--users-table: expected a table"):
        run(here, tmp_path / "empty.sqlite3")

    done = cli(here, url.set(password="secret-word").render_as_string(hide_password=False))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("stagebloom: --source: ")
    assert "secret-word" not in line


def test_a_file_may_have_any_name(here: Settings, file: Path, tmp_path: Path) -> None:
    odd = file.rename(tmp_path / "old 100% #1?.sqlite3")
    assert run(here, f"sqlite:///{quote(str(odd))}").people_added == 6


def test_a_column_that_is_not_there_is_refused_before_anything_is_stored(here: Settings, file: Path) -> None:
    for option in ("title_column", "created_column", "recipient_column", "read_at_column", "event_data_column"):
        with pytest.raises(InvalidInput, match=f"--{option.replace('_', '-')}: expected a column of"):
            run(here, file, mapping=Mapping(**{option: "nowhere"}))
    change(file, "ALTER TABLE notification_service_notification DROP COLUMN is_read")
    with pytest.raises(InvalidInput, match="--read-column: expected a column of"):
        run(here, file)
    assert not any(counts(here).values())


def test_what_may_be_missing_counts_as_empty_and_is_named(
    here: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(here, file, dry_run=True).missing == []
    change(
        file,
        "PRAGMA foreign_keys = off",
        *(f"ALTER TABLE accounts_user DROP COLUMN {name}" for name in ("email", "first_name", "last_name", "role", "is_active")),
        "ALTER TABLE accounts_user RENAME COLUMN stage_id TO stage_ref",
        "ALTER TABLE notification_service_notification DROP COLUMN read_at",
        "ALTER TABLE notification_service_notificationevent DROP COLUMN event_data",
        "DROP TABLE notification_service_notificationtemplate",
    )  # fmt: skip
    report = run(here, file)
    assert (report.people_added, report.notifications_added) == (6, 8)
    assert rows(here, "SELECT name, email, is_active FROM users WHERE external_id = '3'") == [("aicha", None, True)]
    print_report(report, dry_run=False, as_json=False)
    printed = capsys.readouterr().out
    assert (
        "Not there, so it counts as empty: --stage-column stage_id, --first-name-column first_name,"
        " --last-name-column last_name, --email-column email, --active-column is_active, --role-column role,"
        " --read-at-column read_at, --event-data-column event_data,"
        " --templates-table notification_service_notificationtemplate.\n"
    ) in printed
    print_report(report, dry_run=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["missing"][0] == "--stage-column stage_id"


def test_columns_that_can_not_be_compared_are_one_line(here: Settings, postgresql: str) -> None:
    with pytest.raises(Unavailable, match="--source: operator does not exist: bigint = character varying"):
        run(here, postgresql, mapping=Mapping(user_id_column="username"))


def test_people_without_address_and_with_the_same_username_come(here: Settings, file: Path) -> None:
    with sqlite3.connect(file) as old:
        old.execute("DROP INDEX IF EXISTS accounts_user_username")
        old.execute("PRAGMA writable_schema = on")
        old.execute("UPDATE sqlite_schema SET sql = replace(sql, '\"username\" varchar(150) NOT NULL UNIQUE', '\"username\" varchar(150)') WHERE name = 'accounts_user'")  # fmt: skip
        old.execute("DELETE FROM sqlite_schema WHERE name = 'sqlite_autoindex_accounts_user_1'")
    change(file, "UPDATE accounts_user SET email = '', username = 'samir' WHERE id IN (4, 6)")
    report = run(here, file)
    assert beyond(report.remarks) == {}
    found = rows(here, "SELECT name, email FROM users WHERE external_id IN ('4', '6') ORDER BY external_id")
    assert found == [("samir", None), ("samir", None)]
    assert differences(here, file) == []


def test_two_rows_with_one_id_are_one_person_and_their_notifications_do_not_double(here: Settings, file: Path) -> None:
    change(
        file,
        "CREATE VIEW doubled AS SELECT id, username, '' AS first_name, '' AS last_name, '' AS email, 1 AS is_active,"
        " 'tuteur' AS role, NULL AS stage_id FROM accounts_user"
        " UNION ALL SELECT 3, 'other', '', '', '', 1, 'admin', NULL",
    )
    report = run(here, file, mapping=Mapping(users_table="doubled"))
    assert (report.people_added, report.notifications_added) == (6, 8)
    assert beyond(report.remarks) == {"person: an earlier row has the same id": ["3"]}
    assert rows(here, GROUPS)[2] == ("3", ["role_tuteur"])


def test_parts_of_a_person_that_can_not_be_stored_are_left_out_and_reported(here: Settings, file: Path) -> None:
    with sqlite3.connect(file) as old:
        for person, column, value in (
            (1, "first_name", "É\x00"),
            (2, "email", "a" * 501),
            (3, "last_name", b"\xff"),
            (4, "username", "x\x00y"),
            (5, "is_active", "maybe"),
            (6, "role", "a\x00"),
        ):
            old.execute("PRAGMA ignore_check_constraints = on")
            old.execute(f"UPDATE accounts_user SET {column} = ? WHERE id = ?", [value, person])
    report = run(here, file)
    bad = "it is no text in the database's encoding without NUL, of at most 500 characters"
    assert beyond(report.remarks) == {
        f"person taken without first name: {bad}": ["1"],
        f"person taken without address: {bad}": ["2"],
        f"person taken without last name: {bad}": ["3"],
        f"person taken without username: {bad}": ["4"],
        "person taken as inactive: the row says neither": ["5"],
        "person taken without role: it has spaces or one of & | , ; ! ( ) (see --role)": ["6: a�"],
    }
    assert rows(here, "SELECT external_id, name, email, is_active FROM users ORDER BY 1") == [
        ("1", "Müller", "eleonore@example.test", True),
        ("2", "Tom", None, True),
        ("3", "Aïcha", "aicha@example.test", True),
        ("4", "", "samir@example.test", True),
        ("5", "Zoé", "zoe@example.test", False),
        ("6", "personne", "personne@example.test", True),
    ]
    assert differences(here, file) == []


def test_hidden_characters_become_spaces_and_are_reported(here: Settings, file: Path) -> None:
    with sqlite3.connect(file) as old:
        old.execute("UPDATE accounts_user SET first_name = 'É\u202el', email = 'a@example.test\nBcc: b' WHERE id = 1")
    change(file, "DELETE FROM notification_service_notification")
    add_notification(file, title=" Titre\nexe\u202e ", message="un\r\ndeux\ttrois\x1b[2J")
    add_notification(file, title="Titre", message="un\r\ndeux\r\n")
    add_notification(file, title="\u200b\x07", message="rien")
    report = run(here, file)
    assert beyond(report.remarks) == {
        "person taken without address: it has control characters": ["1"],
        "notification taken, with spaces for control characters": ["10"],
        "notification: no title": ["12"],
    }
    assert rows(here, "SELECT name, email FROM users WHERE external_id = '1'") == [("É l Müller", None)]
    found = rows(here, "SELECT texts->'fr'->>'title', texts->'fr'->>'message' FROM notification_events ORDER BY id")
    assert found == [("Titre exe", "un\ndeux\ttrois [2J"), ("Titre", "un\ndeux")]
    assert differences(here, file) == []


def test_roles_with_spaces_and_capital_letters_are_reported_and_may_be_given_other_names(
    here: Settings, file: Path
) -> None:
    change(
        file,
        "UPDATE accounts_user SET role = 'Chef de projet' WHERE id = 1",
        "UPDATE accounts_user SET role = ' Tuteur ' WHERE id = 2",
        "UPDATE accounts_user SET role = 'RH' WHERE id = 3",
        "UPDATE accounts_user SET role = 'rh' WHERE id = 4",
    )
    dry = run(here, file, dry_run=True)
    assert beyond(dry.remarks) == {
        "person taken without role: it has spaces or one of & | , ; ! ( ) (see --role)": ["1: Chef de projet"],
        "person taken, with capital letters in the role: case counts (see --role)": ["2: Tuteur", "3: RH"],
    }
    named = replace(RULES, roles={"Chef de projet": "chef_de_projet", "RH": "rh"})
    report = run(here, file, named)
    assert beyond(report.remarks) == {
        "person taken, with capital letters in the role: case counts (see --role)": ["2: Tuteur"]
    }
    assert rows(here, GROUPS)[:4] == [
        ("1", ["role_chef_de_projet"]),
        ("2", ["role_Tuteur", "stage_1"]),
        ("3", ["role_rh", "stage_1"]),
        ("4", ["role_rh"]),
    ]
    assert differences(here, file, named) == []


def test_a_stage_that_is_gone_is_reported_and_makes_no_group(here: Settings, file: Path) -> None:
    change(file, "PRAGMA foreign_keys = off", "DELETE FROM accounts_stage")
    report = run(here, file)
    assert beyond(report.remarks) == {"person taken without stage: it is gone": ["2: 1", "3: 1"]}
    assert rows(here, "SELECT name FROM groups WHERE name LIKE 'stage%'") == []
    assert differences(here, file) == []

    change(file, "PRAGMA foreign_keys = off", "DROP TABLE accounts_stage")
    assert beyond(run(here, file, dry_run=True).remarks) == {}, "nothing says that they are gone"


def test_times_of_reading_that_can_not_be_are_reported(here: Settings, file: Path) -> None:
    change(file, "DELETE FROM notification_service_notification")
    hour = {"is_read": 1, "created_at": at(hours=5)}
    for title, read_at in (("ok", at(hours=4)), ("before", at(hours=6)), ("late", at(hours=-9)), ("none", "gestern")):
        add_notification(file, title=title, read_at=read_at, **hour)
    add_notification(file, title="unread", read_at=at(hours=4), created_at=at(hours=5))
    report = run(here, file)
    as_made = "notification taken, as read when it was made: the time it was read is"
    assert beyond(report.remarks) == {
        f"{as_made} before it was made": ["11"],
        f"{as_made} in the future": ["12"],
        f"{as_made} no time": ["13"],
    }
    found = rows(
        here,
        """SELECT texts->'fr'->>'title', read_at - event.created_at, seen_at = read_at
           FROM notifications JOIN notification_events event ON event_id = id ORDER BY id""",
    )
    now = timedelta(0)
    assert found == [("ok", timedelta(hours=1), True), ("before", now, True), ("late", now, True), ("none", now, True), ("unread", None, None)]  # fmt: skip
    assert differences(here, file) == []


def test_values_of_other_kinds_are_refused_with_their_row(here: Settings, file: Path) -> None:
    """SQLite keeps anything in any column."""
    change(file, "DELETE FROM notification_service_notification", "PRAGMA ignore_check_constraints = on")
    for values in (
        {"title": b"bytes"},
        {"message": "not UTF-8"},
        {"message": b"\x00"},
        {"title": "x" * 501},
        {"message": "x" * 20_001},
        {"message": "x" * 2_000_000},
        {"title": ""},
        {"is_read": "false"},
        {"is_read": 2},
        {"created_at": b"2026"},
        {"created_at": at(days=-1)},
        {"created_at": "2023-12-31 23:59:59"},
        {"notification_type": b"info"},
        {"recipient_id": "zoé"},
        {"event_id": "\x00"},
        {"event_id": 10**18},
    ):
        add_notification(file, **values)
    change(
        file,
        "UPDATE notification_service_notification SET message = CAST(x'636166e9' AS TEXT) WHERE message = 'not UTF-8'",
    )
    report = run(here, file, replace(RULES, since=None))
    encoding = "no text in the database's encoding without NUL"
    assert beyond(report.remarks) == {
        f"notification: the title is {encoding}": ["10"],
        f"notification: the message is {encoding}": ["11", "12"],
        "notification: the title is longer than 500 characters": ["13"],
        "notification: the message is longer than 20000 characters": ["14", "15"],
        "notification: no title": ["16"],
        "notification: neither read nor unread": ["17", "18"],
        "notification: no time when it was made": ["19"],
        "notification: made in the future": ["20"],
        "notification: made before 2024, where no event id can be": ["21"],
        "notification: the type is none of info, success, warning, error (see --type)": ["22"],
        "notification: nobody has the recipient's id": ["23"],
    }
    assert report.notifications_added == 2, "an event that nobody has is none"


@contextmanager
def database_in(settings: Settings, encoding: str) -> Iterator[str]:
    """One with the earlier system's tables, as far as they matter here; its address."""
    name = f"old_{secrets.token_hex(8)}"
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"))  # fmt: skip
        url = engine(settings).url.set(drivername="postgresql", database=name)
        address = url.render_as_string(hide_password=False)
        execute(
            address,
            "CREATE TABLE accounts_user (id bigint PRIMARY KEY, username text, role text)",
            "CREATE TABLE notification_service_notification (id serial, recipient_id bigint, title text, message text,"
            " notification_type text DEFAULT 'info', is_read boolean DEFAULT false, created_at timestamptz DEFAULT now())",
        )
        try:
            yield address
        finally:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_database_in_latin_1_comes_as_it_reads(here: Settings, settings: Settings) -> None:
    with database_in(settings, "LATIN1") as address:
        execute(
            address,
            "INSERT INTO accounts_user VALUES (1, 'zoé', 'élève')",
            "INSERT INTO notification_service_notification (recipient_id, title, message) VALUES (1, 'Été', 'à')",
        )
        assert beyond(run(here, address).remarks) == {}
        assert differences(here, address) == []
    assert rows(here, "SELECT name, texts->'fr'->>'title' FROM users, notification_events") == [("zoé", "Été")]
    assert rows(here, GROUPS) == [("1", ["role_élève"])]


def test_bytes_in_no_encoding_are_refused_with_their_row(here: Settings, settings: Settings) -> None:
    """A database without an encoding holds what was sent: here, UTF-8 and Latin 1."""
    with database_in(settings, "SQL_ASCII") as address:
        execute(
            address,
            "INSERT INTO accounts_user VALUES (1, 'zoé', 'rh'), (2, E't\\xe9o', 'rh')",
            "INSERT INTO notification_service_notification (recipient_id, title, message)"
            " VALUES (1, 'Été', 'à'), (1, E'\\xc9t\\xe9', 'a'), (1, 'a', repeat('é', 15000))",
        )
        report = run(here, address)
        bad = "no text in the database's encoding without NUL"
        assert beyond(report.remarks) == {
            f"person taken without username: it is {bad}, of at most 500 characters": ["2"],
            f"notification: the title is {bad}": ["2"],
        }
        assert differences(here, address) == []
    assert report.notifications_added == 2


def test_times_that_python_can_not_hold_are_refused_with_their_row(here: Settings, postgresql: str) -> None:
    execute(
        postgresql,
        *(
            "INSERT INTO notification_service_notification (recipient_id, title, message, notification_type, is_read, created_at)"
            f" VALUES (3, 'x', 'x', 'info', false, '{moment}')"
            for moment in ("infinity", "-infinity", "0044-03-15 BC", "20000-01-01")
        ),
    )
    report = run(here, postgresql)
    assert beyond(report.remarks) == {"notification: no time when it was made": ["11", "12", "13", "10"]}, "in order"
    assert report.notifications_added == 8


def test_uuids_come_with_their_dashes_from_sqlite_too(here: Settings, file: Path) -> None:
    people = {n: UUID(int=n << 64 | n) for n in range(1, 7)}
    with sqlite3.connect(file) as old:
        old.execute("CREATE TABLE people (id char(32) PRIMARY KEY, username text, role text)")
        old.execute("CREATE TABLE sent AS SELECT * FROM notification_service_notification LIMIT 0")
        old.execute("ALTER TABLE sent DROP COLUMN recipient_id")
        old.execute("ALTER TABLE sent ADD COLUMN recipient_id char(32)")
        old.executemany("INSERT INTO people VALUES (?, 'x', 'rh')", [(one.hex,) for one in people.values()])
        old.execute(
            "INSERT INTO sent (id, recipient_id, title, message, notification_type, is_read, created_at) VALUES (1, ?, 'x', 'x', 'info', 0, ?)",
            [people[1].hex, at()],
        )
    mapping = Mapping(users_table="people", notifications_table="sent")
    report = run(here, file, mapping=mapping)
    assert (report.people_added, report.notifications_added) == (6, 1)
    found = rows(here, "SELECT external_id FROM users ORDER BY 1")
    assert found == [(str(one),) for one in people.values()]
    assert differences(here, file, mapping=mapping) == []


def test_uuids_come_from_postgresql(here: Settings, settings: Settings) -> None:
    person, event = UUID(int=5), UUID(int=7)
    with database_in(settings, "UTF8") as address:
        execute(
            address,
            "ALTER TABLE accounts_user DROP COLUMN id, ADD COLUMN id uuid PRIMARY KEY",
            "ALTER TABLE notification_service_notification DROP COLUMN recipient_id, ADD COLUMN recipient_id uuid,"
            " ADD COLUMN event_id uuid",
            "CREATE TABLE notification_service_notificationevent (id uuid PRIMARY KEY, event_type text, event_data json)",
            f"INSERT INTO accounts_user (id, username) VALUES ('{person}', 'zoé')",
            f"""INSERT INTO notification_service_notificationevent VALUES ('{event}', 'SURVEY', '{{"n": 1}}')""",
            "INSERT INTO notification_service_notification (recipient_id, event_id, title, message)"
            f" VALUES ('{person}', '{event}', 'x', 'x')",
        )
        assert run(here, address).notifications_added == 1
        assert differences(here, address) == []
    assert rows(here, "SELECT external_id, name FROM users") == [(str(person), "zoé")]
    found = rows(here, "SELECT event_type, data, idempotency_key FROM notification_events")
    assert found[0][:2] == ("survey", {"n": 1})
    assert found[0][2].startswith(f"event:{event}:")


def test_whatever_stands_in_the_old_rows_the_report_can_be_printed(
    here: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(file, "UPDATE accounts_user SET role = 'a [/b] ' || char(27) || '[2J' WHERE id = 1")
    change(file, "UPDATE accounts_user SET first_name = '[/b]' WHERE id = 2")
    print_report(run(here, file), dry_run=False, as_json=False)
    assert "1: a [/b] �[2J" in capsys.readouterr().out
    rows(here, "UPDATE users SET name = '[red]' || chr(27) WHERE external_id = '2' RETURNING 1")
    checked = cli(here, file, "--check")
    assert checked.returncode == 1
    assert "[/b]" in checked.stdout
    assert "[red]�" in checked.stdout
    assert checked.stderr == ""


def test_a_source_that_goes_away_is_one_line_and_the_next_run_goes_on(
    here: Settings, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 2)

    def interrupted() -> Iterator[Any]:
        with open_source(postgresql, Mapping()) as source:
            for report in import_all(here, source, RULES):
                yield report
                if report.notifications_added == 5:
                    execute(postgresql, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip

    with pytest.raises(Unavailable, match="--source: "):
        list(interrupted())
    assert rows(here, "SELECT count(*) FROM notifications") == [(5,)]
    assert run(here, postgresql).notifications_added == 3
    assert differences(here, postgresql) == []


def test_weeks_that_are_dropped_while_they_come_are_one_line(
    here: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.importing.django_source.CHUNK", 3)
    with open_source(f"sqlite:///{file}", Mapping()) as source:
        running = import_all(here, source, replace(RULES, since=None))
        while not next(running).notifications_added:
            pass
        for (name,) in rows(
            here, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'notifications'::regclass"
        ):
            rows(here, f"DROP TABLE {name}; SELECT 1")
        with pytest.raises(Unavailable, match="NOTIFICATION_RETENTION_DAYS are dropped while they come.*no partition"):
            list(running)
    with transaction(here) as session:
        make_partitions(session)
