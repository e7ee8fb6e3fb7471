"""The command line as it is used: a process of its own, against the servers of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jwt
import pytest

from shared.cli import cli
from shared.migrations import head
from shared.settings import Settings
from tests.broken_broker import BrokerDoor
from tests.company import Company

ROOT = Path(__file__).parent.parent.parent


def stagebloom(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from shared.cli import main; main()", *arguments]
    environment = {**os.environ, "COLUMNS": "200", **environ}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, env=environment, check=False)


def refused(*arguments: str, **environ: str) -> str:
    """The one line that says why; no traceback, and nothing on standard output."""
    done = stagebloom(*arguments, **environ)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def answered(*arguments: str, **environ: str) -> str:
    done = stagebloom(*arguments, **environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_command_the_commands_are_listed() -> None:
    done = stagebloom("--help")
    assert done.returncode == 0
    for name in ("run", "migrate", "seed", "token", "send", "events", "settings"):
        assert f"\n  {name} " in done.stdout
    assert "Usage:" in stagebloom().stderr


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_explains_itself_without_any_server(command: str, tmp_path: Path) -> None:
    done = stagebloom(command, "--help", DATA_DIR=str(tmp_path))
    assert done.returncode == 0
    assert f"{command} [OPTIONS]" in done.stdout
    assert len(done.stdout.splitlines()) >= 5


@pytest.mark.parametrize(
    "command",
    [
        ("token", "42"),
        ("token", "--role", "rh"),
        ("send", "--everyone", "--title", "T", "--message", "M"),
        ("seed", "--people", "1"),
        ("events",),
        ("migrate",),
    ],
    ids=" ".join,
)
def test_without_servers_one_line_says_how_to_start_them(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert f"no server is running in {tmp_path}: start it with `stagebloom run`" in refused(
        *command, DATA_DIR=str(tmp_path)
    )


def test_a_server_that_died_is_one_line_too(tmp_path: Path) -> None:
    (tmp_path / "servers.json").write_text(
        json.dumps(
            {"database_url": "postgresql+psycopg2://u:hunter2@127.0.0.1:1/x", "redis_url": "redis://127.0.0.1:1/0"}
        )
    )
    line = refused("token", "42", DATA_DIR=str(tmp_path))
    assert "the database can't be reached" in line
    assert "hunter2" not in line


def test_faulty_settings_are_said_before_anything_is_done() -> None:
    done = stagebloom("events", PORT="abc", LOG_LEVEL="LOUD")
    assert done.returncode == 1
    assert "PORT='abc'" in done.stderr
    assert "LOG_LEVEL='LOUD'" in done.stderr
    assert "Traceback" not in done.stderr


def test_tokens_are_one_a_line_and_of_the_people_named(company: Company, settings: Settings) -> None:
    company.people(["42", "anna"], "role_rh")
    lines = answered("token", "anna", "42").splitlines()
    claims = [
        jwt.decode(line, settings.signing_key(), ["HS256"], audience="notifications", issuer="stagebloom")
        for line in lines
    ]
    assert [claim["sub"] for claim in claims] == ["anna", "42"]


def test_tokens_of_a_role_are_limited_and_of_active_people(company: Company, settings: Settings) -> None:
    company.people(["1", "2", "3"], "role_rh")
    company.person("4", "role_rh", is_active=False)
    company.person("5", "role_admin")
    assert len(answered("token", "--role", "rh").splitlines()) == 3
    assert len(answered("token", "--role", "rh", "--limit", "2").splitlines()) == 2


def test_no_token_is_made_when_one_person_is_unknown_or_deactivated(company: Company) -> None:
    company.person("42")
    company.person("43", is_active=False)
    line = refused("token", "42", "43", "ghost")
    assert "43, ghost" in line
    assert "nobody has the role 'hr'" in refused("token", "--role", "hr")


def test_a_name_that_is_no_text_is_refused(company: Company) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from shared.cli import main; main()", "token", b"\xff\xfe"],
        capture_output=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong", [(), ("42", "--role", "rh"), ("--role", "rh", "--limit", "0"), ("42", "--lifetime", "x")]
)
def test_a_wrong_use_is_explained(wrong: tuple[str, ...]) -> None:
    done = stagebloom("token", *wrong)
    assert done.returncode == 2
    assert "Usage: " in done.stderr or "Try " in done.stderr


def sent(*arguments: str, **environ: str) -> Any:
    return json.loads(answered("send", "--title", "T", "--message", "M", "--json", *arguments, **environ))


def test_what_is_sent_is_recorded_and_rung_for(company: Company) -> None:
    company.person("42", "role_rh", "entreprise_3")
    done = sent(
        "--role",
        "rh",
        "--to",
        "role_rh & entreprise_3",
        "--exclude",
        "user_42",
        "--data",
        '{"a": 1}',
        "--type",
        "warning",
    )
    assert done["broker"] is True
    (row,) = [json.loads(line) for line in answered("events", "list", "--json").splitlines()]
    assert row["id"] == done["event_id"]
    assert row["audience"] == ["role_rh", "role_rh & entreprise_3"]
    assert str(done["event_id"]) in answered("events")


def test_a_key_sends_once_and_the_priority_and_type_are_kept(company: Company) -> None:
    company.person("42", "role_rh")
    options = ("--role", "rh", "--priority", "critical", "--event-type", "demande", "--idempotency-key", "once")
    first, second = sent(*options), sent(*options)
    assert first["event_id"] == second["event_id"]
    assert (first["repeated"], second["repeated"]) == (False, True)
    said = answered("send", "--title", "T", "--message", "M", *options)
    assert said.strip() == f"event {first['event_id']} was recorded before: nothing is sent again"
    assert company.count("audit_log") == 1, "what sends nothing is no act"
    (row,) = [json.loads(line) for line in answered("events", "list", "--type", "demande", "--json").splitlines()]
    assert json.loads(answered("events", "show", str(row["id"]), "--json"))["priority"] == "critical"
    assert answered("events", "list", "--status", "failed", "--json") == ""


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--role", "hr"), "role_hr"),
        (("--to", "role rh"), "got 'role rh'"),
        (("--everyone", "--data", '{"a": NaN}'), "data"),
        (("--everyone", "--link", "javascript:alert(1)"), "link"),
        (("--everyone", "--title", "x" * 201), "title"),
        (("--everyone", "--exclude", "user_7"), "user_7"),
    ],
)
def test_a_refused_event_is_one_line_and_nothing_is_stored(
    company: Company, arguments: tuple[str, ...], cause: str
) -> None:
    assert cause in refused("send", "--title", "T", "--message", "M", *arguments)
    assert company.count("notification_events") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--title", "T", "--message", "M"),
        ("--everyone", "--title", "T"),
        ("--everyone", "--title", "T", "--message", "M", "--data", "[1]"),
    ],
)
def test_an_incomplete_send_says_what_is_missing(company: Company, arguments: tuple[str, ...]) -> None:
    done = stagebloom("send", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert company.count("notification_events") == 0


def test_without_the_broker_it_is_recorded_and_said(company: Company, settings: Settings) -> None:
    with BrokerDoor(settings) as door:
        door.refuse()
        assert sent("--everyone", BROKER_URL=str(door.settings.broker_url))["broker"] is False
        assert "the broker has not answered yet" in answered(
            "send", "--everyone", "--title", "T", "--message", "M", BROKER_URL=str(door.settings.broker_url)
        )
    assert company.count("notification_events") == 2


def test_settings_are_shown_with_the_addresses_of_the_servers(settings: Settings) -> None:
    shown = json.loads(answered("settings", "--json"))
    assert shown["DATABASE_URL"] == settings.database.replace("+psycopg2", "")
    assert shown["REDIS_URL"] == shown["BROKER_URL"] == settings.redis
    assert set(shown) == {name.upper() for name in Settings.model_fields}
    assert (shown["PORT"], shown["SEND_ROLES"], shown["DEMO"]) == (8000, ["admin", "rh"], True)
    assert settings.signing_key() not in json.dumps(shown)


def test_the_table_of_settings_is_for_people_and_hides_passwords(settings: Settings) -> None:
    table = answered("settings")
    assert "NOTIFICATION_BATCH_SIZE" in table
    password = settings.redis.split(":")[2].split("@")[0]
    assert password
    assert password not in table


def test_settings_are_shown_without_any_server(tmp_path: Path) -> None:
    shown = json.loads(answered("settings", "--json", DATA_DIR=str(tmp_path)))
    assert shown["DATABASE_URL"] is None
    assert shown["PUBLIC_URL"] == "http://127.0.0.1:8000"
    assert shown["DATA_DIR"] == str(tmp_path)


def test_people_are_added(company: Company) -> None:
    assert "7 people added" in answered("seed", "--people", "7")
    assert company.count("users") == 7
    assert "nothing was added" in answered("seed", "--demo")
    assert stagebloom("seed").returncode == 2


def test_the_state_of_the_schema_is_told(settings: Settings) -> None:
    assert answered("migrate", "--status").strip() == f"at {head()}, newest is {head()}"
    assert answered("migrate").strip() == f"{head()} → {head()}"
    assert "9999" in refused("migrate", "--to", "9999")


def test_going_back_asks_first(settings: Settings, company: Company) -> None:
    company.person("42")
    done = stagebloom("migrate", "--to", "base")
    assert done.returncode == 130
    assert company.count("users") == 1


def test_an_unmigrated_database_says_what_to_do(settings: Settings) -> None:
    from tests.databases import new_database

    with new_database(settings) as database:
        address = database.url.render_as_string(hide_password=False)
        assert "stagebloom migrate" in refused("events", DATABASE_URL=address)
