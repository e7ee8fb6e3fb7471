"""`stagebloom selftest`: the six steps on a running system, which leave nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from producer import NotificationService, RoleNotificationHelper, selftest
from producer.selftest import run_selftest
from shared.commands import selftest as command
from shared.database import transaction
from shared.settings import Settings
from tests.company import Company
from tests.system import ROOT, System, wait_until

LEFT = text(
    "SELECT (SELECT count(*) FROM users) + (SELECT count(*) FROM groups) + (SELECT count(*) FROM notification_events) + (SELECT count(*) FROM notifications)"
)


@pytest.fixture
def reached(system: System, settings: Settings) -> Settings:
    """The settings of someone who reaches the running gateway."""
    return settings.model_copy(update={"public_url": system.base_url})


def count(settings: Settings) -> int:
    with transaction(settings) as session:
        return int(session.scalar(LEFT) or 0)


def test_all_six_steps_pass_and_nothing_stays(reached: Settings, company: Company) -> None:
    company.people(["1", "2"], "role_rh", "role_stagiaire", "role_tuteur", "role_admin")
    before = count(reached)
    steps = list(run_selftest(reached))
    assert [(step.name, step.status) for step in steps if step.status != "passed"] == [], steps
    assert len(steps) == 6
    assert count(reached) == before
    seen = [line for step in steps for line in step.seen]
    assert "notify_management_team: would reach role_admin and role_rh (not sent)" in seen
    assert "send_broadcast: would reach everyone (not sent)" in seen
    assert company.count("notifications") == 0, "nobody real was notified"


def test_the_first_step_tries_every_method_that_notifies(reached: Settings) -> None:
    methods = {
        name
        for door in (NotificationService, RoleNotificationHelper)
        for name in vars(door)
        if name.startswith(("send_", "notify_", "create_"))
    } - {"create_event"}  # the second step and the last
    with contextlib.closing(run_selftest(reached)) as running:
        first = next(iter(running))
    assert {line.partition(":")[0] for line in first.seen} == methods


def test_roles_that_nobody_has_recorded_are_no_failure(reached: Settings) -> None:
    (first, *_) = run_selftest(reached)
    assert first.status == "passed"
    assert "notify_tuteurs: not sent; nobody has recorded role_tuteur here" in first.seen


def test_a_gateway_that_does_not_answer_fails_the_steps_that_need_it(reached: Settings) -> None:
    away = reached.model_copy(update={"public_url": "http://127.0.0.1:9"})
    assert [step.status for step in run_selftest(away)] == ["passed", "failed", "failed", "failed", "failed", "passed"]
    assert count(reached) == 0


def test_ended_early_it_cleans_up(reached: Settings) -> None:
    with contextlib.closing(run_selftest(reached)) as running:
        next(iter(running))
        assert count(reached) > 0
    assert count(reached) == 0


def test_what_a_killed_run_left_is_removed_by_the_next(reached: Settings) -> None:
    run = selftest.Run(reached, "selftest-0badc0de", 0)
    selftest._hire(run)
    with transaction(reached) as session:
        session.execute(text("UPDATE users SET created_at = now() - interval '2 hours'"))
    selftest._remove_left(reached)
    assert count(reached) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up(reached: Settings, number: signal.Signals) -> None:
    environment = {**os.environ, "PUBLIC_URL": str(reached.public_url)}
    process = subprocess.Popen(
        [sys.executable, "-c", "from shared.cli import main; main()", "selftest"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: count(reached) > 0, "it has begun", 60)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert count(reached) == 0


def test_the_command_prints_a_checklist_or_json(reached: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [selftest.Step("one", "passed", 0.1, ["seen"]), selftest.Step("two", "failed", 0.2, ["why"])]
    monkeypatch.setattr(selftest, "run_selftest", lambda settings: (step for step in steps))
    shown = CliRunner().invoke(command.selftest)
    assert shown.exit_code == 1
    assert "✓ 1. one" in shown.output
    assert "✗ 2. two" in shown.output
    assert "why" in shown.output
    assert json.loads(CliRunner().invoke(command.selftest, ["--json"]).output)["passed"] is False
