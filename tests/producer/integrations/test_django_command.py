"""`manage.py deliver_notifications`: moves what was left behind, shows what was refused, retries and drops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from io import StringIO
from types import ModuleType

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.db import connections
from sqlalchemy import text

from producer.integrations.django import moving, record
from shared.database import transaction as own_transaction
from shared.events import EventDraft
from shared.settings import Settings, get_settings
from tests.producer.integrations.looking import SETTINGS_MODULE, actions, waiting
from tests.system import ROOT, wait_until


@pytest.fixture
def resting(models: ModuleType, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Commits move nothing, as for some seconds after our database was away."""
    monkeypatch.setattr(moving, "_rest_until", float("inf"))
    return monkeypatch


def say(action: str, group: str = "role_rh", using: str = "default") -> None:
    record(EventDraft(data={"action": action}, audience=[group], title="T", message="M"), using)


def deliver(*arguments: str) -> list[str]:
    printed = StringIO()
    call_command("deliver_notifications", *arguments, stdout=printed)
    return printed.getvalue().splitlines()


def test_it_moves_what_waits_in_every_database(resting: pytest.MonkeyPatch, settings: Settings) -> None:
    say("one")
    say("two", using="postgresql")
    shown = deliver("--show")
    assert [line.rsplit(" ", 2)[0] for line in shown] == [
        "default: 1 waiting, the oldest since",
        "postgresql: 1 waiting, the oldest since",
    ]
    assert actions(settings) == []
    assert deliver() == ["default: 1 recorded, 0 refused", "postgresql: 1 recorded, 0 refused"]
    assert actions(settings) == ["one", "two"]
    assert deliver("--show") == []


def test_what_was_refused_is_shown_and_retried_or_dropped(resting: pytest.MonkeyPatch, settings: Settings) -> None:
    for action, group in (("one", "team_a"), ("two", "team_b"), ("three", "team_a"), ("four", "role_rh")):
        say(action, group)
    first, second, third, _ = [entry.pk for entry in waiting()]
    error = "audience: expected known groups, got {}. Groups are made known with Directory.add_groups()"
    assert deliver("--database", "default") == [
        "default: 1 recorded, 3 refused",
        f"default: {first}: {error.format('team_a')}",
        f"default: {second}: {error.format('team_b')}",
        f"default: {third}: {error.format('team_a')}",
        "default: 3 refused; --retry or --drop ID … or all",
    ]
    with own_transaction() as session:
        session.execute(text("INSERT INTO groups (name) VALUES ('team_a')"))
    assert deliver("--database", "default", "--retry", str(third))[:2] == [
        "default: 1 to try again",
        "default: 1 recorded, 0 refused",
    ]
    assert actions(settings) == ["four", "three"]
    assert deliver("--retry", "all")[0] == "default: 2 to try again"
    assert actions(settings) == ["four", "three", "one"]
    assert deliver("--database", "default", "--drop", str(second)) == ["default: 1 dropped"]
    assert waiting() == []


def test_only_what_was_refused_can_be_dropped(resting: pytest.MonkeyPatch, settings: Settings) -> None:
    say("one")
    assert deliver("--drop", "all")[0] == "default: 0 dropped"
    assert len(waiting()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--retry", "1"], "ids are those of one database: add --database default or postgresql"),
        (["--database", "default", "--drop", "all", "1"], "expected ids of refused entries, or 'all' alone, got all 1"),
        (["--watch", "0"], "expected seconds from 0.1 to 3600|invalid seconds from 0.1 to 3600 value: '0'"),
        (["--database", "other"], "invalid choice: 'other'"),
    ],
)
def test_what_can_not_be_meant_is_named(resting: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        deliver(*arguments)


def test_a_database_that_is_away_ends_it_with_its_cause(resting: pytest.MonkeyPatch) -> None:
    say("one")
    resting.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    with pytest.raises(CommandError, match="default: OperationalError: .*refused"):
        deliver()
    resting.delenv("DATABASE_URL")
    get_settings.cache_clear()
    assert deliver()[0] == "default: 1 recorded, 0 refused"


def test_an_application_that_is_not_migrated_is_told_how(models: ModuleType) -> None:
    call_command("migrate", "notification_service", "zero", database="postgresql", verbosity=0)
    try:
        with pytest.raises(CommandError, match="run `manage.py migrate notification_service`"):
            deliver("--database", "postgresql")
        assert deliver() == ["default: 0 recorded, 0 refused"]
    finally:
        call_command("migrate", "notification_service", database="postgresql", verbosity=0)


def test_it_goes_on_watching_until_it_is_stopped(resting: pytest.MonkeyPatch, settings: Settings) -> None:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE}
    command = [sys.executable, "-m", "django", "deliver_notifications", "--watch", "0.1"]
    watching = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for action in ("one", "two"):
            say(action)
            wait_until(lambda action=action: action in actions(settings), f"{action} is moved")  # type: ignore[misc]
        assert watching.poll() is None
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
        assert watching.communicate()[1] == ""
    finally:
        watching.kill()
        watching.wait()
        connections.close_all()


def test_the_commands_that_the_documentation_shows_exist(started: None) -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"manage\.py (\w+)", pages))
    assert {"deliver_notifications", "notification_environment"} <= shown <= set(get_commands())
    options = set(re.findall(r"deliver_notifications.*? (--\w+)", pages))
    assert options == {"--watch", "--show", "--retry", "--database"}
    parser = load_command_class("producer.integrations.django", "deliver_notifications").create_parser("", "")
    assert options <= set(parser._option_string_actions)
