"""The tables of the command line, in a real terminal of 80 columns: what names a thing is never cut."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest
from sqlalchemy import text

from shared.audit import COMMAND_LINE, Actor, record
from shared.cli import cli
from shared.database import transaction
from shared.models import DailyCount
from shared.settings import Settings, environment_name
from tests.company import Company
from tests.shared.test_cli import answered
from tests.system import ROOT

BATCH = text("""
    INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids, stored_xid, stored_at, published_at)
    VALUES (:id, 0, 'single', 'fr', '{1}', pg_current_xact_id(), '2026-11-30 08:00:00.123456Z', '2026-11-30 08:00:00.234567Z')
""")
STYLE = re.compile(r"\x1b\[[0-9;]*m")


def terminal(*arguments: str, columns: int = 80) -> str:
    """What a command writes to a terminal so wide; lines longer than that are the terminal's to wrap."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, columns))
    command = [sys.executable, "-c", "from shared.cli import main; main()", *arguments]
    environment = {**{name: value for name, value in os.environ.items() if name != "COLUMNS"}, "TERM": "xterm"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        written = b"".join(_read(ours))
    os.close(ours)
    assert process.returncode == 0, written
    return STYLE.sub("", written.decode().replace("\r\n", "\n"))


def _read(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # Linux says EIO once the other end is closed
            return
        if not piece:
            return
        yield piece


def piped(*arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from shared.cli import main; main()", *arguments]
    return subprocess.run(command, input=answer, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_of_events_keeps_ids_times_types_and_statuses_whole(company: Company, columns: int) -> None:
    company.people(["42", "43", "44", "45"], "role_rh")
    event = company.notify("42", "43", "44", "45", event_type="stage_update", data={"stage_id": 7})
    table = terminal("events", "list", columns=columns)
    (row,) = [line for line in table.splitlines() if str(event) in line]
    assert max(map(len, table.splitlines())) <= columns
    _, day, time, kind = row.split()[:4]
    assert (len(day), len(time), kind) == (10, 8, "stage_update")
    assert "processed" in row.split()
    assert ("error" in table) == (columns == 120)


def test_one_event_s_story_has_times_to_the_second(company: Company) -> None:
    company.person("42", "role_rh")
    event = company.notify("42")
    with transaction(company.settings) as session:
        session.execute(BATCH, {"id": event})
    story = terminal("events", "show", str(event))
    (created,) = [line for line in story.splitlines() if line.strip().startswith("created at")]
    assert len(created.split()[-1]) == len("12:00:00")
    assert max(map(len, story.splitlines())) <= 80
    (plan,) = [line.split() for line in story.splitlines() if line.startswith("single ")]
    assert plan[-2:] == ["2026-11-30", "08:00:00"]


def test_a_record_of_the_audit_log_is_a_whole_row_and_its_details_few_lines_below(company: Company) -> None:
    details = {"event_type": "stage_update", "priority": "normal",
               "audience": {"count": 25, "first": [f"entreprise_{n}" for n in range(20)]}, "exclude": {"count": 0, "first": []}}  # fmt: skip
    with transaction(company.settings) as session:
        record(session, Actor(COMMAND_LINE), "notification.broadcast", "385875968000001", details)
    table = terminal("audit")
    assert "cli    notification.broadcast  385875968000001" in table
    assert "entreprise_4 and 20 more" in table
    assert len(table.splitlines()) <= 5
    assert max(map(len, table.splitlines())) <= 80


def test_settings_and_their_addresses_are_whole(settings: Settings) -> None:
    shown = terminal("settings")
    for name in Settings.model_fields:
        assert f"\n{environment_name(name)}=" in f"\n{shown}"
    assert f"@{settings.database.rpartition('@')[2]}\n" in shown


def test_settings_look_as_one_would_set_them(settings: Settings) -> None:
    lines = piped("settings").stdout.splitlines()
    for line in ("SEND_ROLES=admin,rh", "SEND_LIMITS=admin=100,rh=20,*=20", "EMAIL_FALLBACK=true", "SMTP_URL="):
        assert line in lines
    values = json.loads(piped("settings", "--json").stdout)
    assert values["SEND_LIMITS"] == {"admin": 100, "rh": 20, "*": 20}


def test_a_list_that_goes_on_says_so_but_not_in_json(company: Company) -> None:
    company.people(["1", "2", "3"], "role_rh")
    for _ in range(3):
        company.notify("1")
    with transaction(company.settings) as session:
        for _ in range(3):
            record(session, Actor(COMMAND_LINE), "token.issue")
    for command in (("people", "list"), ("events", "list"), ("audit",)):
        assert "2 shown; more with --limit" in piped(*command, "--limit", "2").stderr
        assert piped(*command, "--limit", "3").stderr == ""
        as_json = piped(*command, "--limit", "2", "--json")
        assert (len(as_json.stdout.splitlines()), as_json.stderr) == (2, "")


def test_nothing_found_is_said(company: Company) -> None:
    assert (
        "no events of type 'nope'; the catalogue has no such type" in piped("events", "list", "--type", "nope").stderr
    )
    assert piped("events", "list", "--type", "system").stderr == "no events of type 'system'\n"
    assert "no records of action 'nope'" in piped("audit", "--action", "nope").stderr
    assert "'abc' is no event id" in piped("events", "show", "abc").stderr


def test_who_is_not_erased_is_said_to_be_there(company: Company) -> None:
    company.person("42")
    done = piped("people", "erase", "42", answer="n\n")
    assert "nothing was erased" in done.stderr
    assert done.returncode == 130
    assert company.count("users") == 1


def groups(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        yield path
        for name, child in command.commands.items():
            yield from groups(child, (*path, name))


@pytest.mark.parametrize("path", list(groups(cli)), ids=" ".join)
def test_no_summary_of_a_command_is_cut_at_80_columns(path: tuple[str, ...]) -> None:
    assert "...\n" not in terminal(*path, "--help").partition("Commands:")[2]


def test_nothing_that_somebody_wrote_is_markup_or_moves_the_cursor(company: Company, settings: Settings) -> None:
    company.person("42", "role_rh")
    event_id = company.notify("42", category="[/cat]")
    with transaction(settings) as session:  # as an earlier version let it through
        session.execute(text("UPDATE notification_events SET thread_key = :key"), {"key": "a\x1b[2Jb"})
        record(session, Actor("user_[/x]\x1b[31m"), "notification.send", "[bold]")
        session.add(DailyCount(day=datetime.now(UTC).date(), role="[/r]", notification_type="info", category=""))
    shown = answered("events", "show", str(event_id)) + answered("audit") + answered("stats")
    assert "\x1b" not in shown
    for words in ("[/cat]", "a\\x1b[2Jb", "user_[/x]\\x1b[31m", "[bold]", "[/r]"):
        assert words in shown, words
