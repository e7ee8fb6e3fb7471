"""What an application's transaction has to say is written down in it, and moved to us once, whoever dies."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
from django.db import connections, transaction
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import text

from producer import Person, happened
from producer.integrations.django import Watch, moving, record, watch
from producer.integrations.django.moving import move
from shared.database import engine
from shared.database import transaction as own_transaction
from shared.events import EventDraft, record_event
from shared.settings import Settings, get_settings
from tests.producer.integrations.django_app.killed import MOMENTS
from tests.producer.integrations.looking import (
    SETTINGS_MODULE,
    actions,
    add_stage,
    events,
    members,
    person,
    waiting,
)
from tests.system import ROOT

AWAY = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Commits move nothing, as for some seconds after our database was away."""
    monkeypatch.setattr(moving, "_rest_until", float("inf"))
    return monkeypatch


@contextmanager
def counted(settings: Settings) -> Iterator[list[str]]:
    """Every statement in our database."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy_event.listen(engine(settings), "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sqlalchemy_event.remove(engine(settings), "before_cursor_execute", note)


def said(action: str, **changes: Any) -> EventDraft:
    values: dict[str, Any] = {"audience": ["role_rh"], "title": "T", "message": "M", **changes}
    return EventDraft(event_type="system", data={"action": action}, **values)


def forget_group(name: str) -> None:
    with own_transaction() as session:
        session.execute(text("DELETE FROM groups WHERE name = :name"), {"name": name})


def test_killed_before_or_after_recording_there_is_each_event_once_in_order(
    models: ModuleType, settings: Settings
) -> None:
    command = [sys.executable, "-m", "tests.producer.integrations.django_app.killed"]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, cwd=ROOT, env=environment, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "killed\n", process.communicate("")[1]
    assert actions(settings) == ["created"] * 3 * 2, "the process that died after recording has recorded"
    assert [len(waiting(using)) for using in ("default", "postgresql")] == [6, 6], "and all of it still waits"
    errors = process.communicate("go on\n", timeout=60)[1]
    assert process.returncode == 0, errors
    assert [waiting(using) for using in ("default", "postgresql")] == [[], []]
    with own_transaction() as session:
        found = session.execute(text("SELECT data->>'stage_id' FROM notification_events ORDER BY id")).scalars().all()
    ids = [
        [str(models.Stage.objects.using(using).get(title=f"{moment} {n}").pk) for n in range(3)]
        for using in ("default", "postgresql")
        for moment in MOMENTS
    ]
    recorded = [found[:3], found[3:6], *sorted([found[6:9], found[9:]])]
    assert recorded == [ids[0], ids[2], *sorted([ids[1], ids[3]])]
    assert all(members(settings, f"stage_{stage}") == ["Tom"] for stages in ids for stage in stages)


def test_a_rollback_leaves_nothing_to_move(models: ModuleType, settings: Settings, using: str) -> None:
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=using):
        add_stage(models, using=using)
        assert len(waiting(using)) == 1
        raise ZeroDivisionError
    assert waiting(using) == []
    assert actions(settings) == []


def test_savepoints_take_along_what_was_written_in_them_and_nothing_else(
    models: ModuleType, settings: Settings, using: str
) -> None:
    def add(title: str) -> None:
        models.Stage.objects.using(using).create(title=title)
        record(said(title), using)

    def undone(*titles: str) -> None:
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=using):
            for title in titles:
                add(title)
            raise ZeroDivisionError

    with transaction.atomic(using=using):
        undone("first, before anything else")
        with transaction.atomic(using=using):
            with transaction.atomic(using=using):
                add("released twice")
            undone("inner")
        undone("outer")
        add("last")
        assert actions(settings) == []
    assert [action for action in actions(settings) if action != "created"] == ["released twice", "last"]
    assert actions(settings).count("created") == 2
    assert waiting(using) == []


def test_without_a_transaction_a_save_and_what_it_says_are_one(
    models: ModuleType, settings: Settings, using: str
) -> None:
    def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "notification_service_outbox" in sql:
            raise ZeroDivisionError
        return execute(sql, params, many, context)

    assert connections[using].get_autocommit()
    with connections[using].execute_wrapper(fail), pytest.raises(ZeroDivisionError):
        models.Stage.objects.using(using).create(title="Données")
    assert not models.Stage.objects.using(using).exists()
    models.Stage.objects.using(using).create(title="Données")
    assert actions(settings) == ["created"]


def test_our_database_may_be_away_and_what_waits_is_moved_in_order_by_a_later_commit(
    models: ModuleType,
    settings: Settings,
    using: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("DATABASE_URL", AWAY)
    get_settings.cache_clear()
    stage = add_stage(models, using=using)
    models.Document(title="Un", stage=stage).save(using=using)
    monkeypatch.delenv("DATABASE_URL")
    get_settings.cache_clear()
    assert [entry.model for entry in waiting(using)] == ["django_app.Stage", "django_app.Document"]
    assert caplog.text.count("outbox_waits") == 1, "it is tried once, then left alone for some seconds"
    assert "refused" in caplog.text
    monkeypatch.setattr(moving, "_rest_until", 0.0)
    models.Document(title="Deux", stage=stage).save(using=using)
    assert [data.get("document_title") for _, data in events(settings)] == [None, "Un", "Deux"]
    assert members(settings, f"stage_{stage.pk}") == ["Simon", "Tom"]
    assert waiting(using) == []


def test_what_is_refused_is_kept_with_its_error_and_nothing_waits_for_it(
    models: ModuleType, settings: Settings, using: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage = add_stage(models, using=using)
    forget_group("role_rh")
    with transaction.atomic(using=using):
        for n in range(3):
            models.Document(title=f"D{n}", stage=stage).save(using=using)
            stage.status = f"s{n}"
            stage.save(using=using)
    assert actions(settings) == ["created"] + ["status_changed"] * 3
    assert [(entry.model, "role_rh" in entry.error) for entry in waiting(using)] == [("django_app.Document", True)] * 3
    line = next(record for record in caplog.records if "event_not_recorded" in record.getMessage())
    assert (line.name, line.levelname) == ("notification_service.django", "ERROR")
    assert "django_app.Document" in line.getMessage()


def test_people_and_groups_hold_even_when_the_event_is_refused(
    models: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from producer.integrations.django.registry import watches

    what = Watch(
        inserted=lambda one: said("hello", audience=["team_unheard"]),
        person=lambda one: Person(one.pk, one.username),
        roles=lambda one: [one.role],
    )
    monkeypatch.setitem(watches, models.User, what)
    models.User.objects.create(username="Aïcha", role="stagiaire")
    assert members(settings, "role_stagiaire") == ["Aïcha", "Simon"]
    assert "team_unheard" in waiting()[0].error


def test_a_function_that_fails_when_it_is_moved_refuses_its_own_row_only(
    models: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from producer.integrations.django.registry import watches

    monkeypatch.setitem(watches, models.Team, Watch(members=lambda team: {f"team_{1 // len(team.name)}": []}))
    with transaction.atomic():
        models.Team.objects.create(name="")
        add_stage(models)
    assert actions(settings) == ["created"]
    assert [entry.error for entry in waiting()] == ["ZeroDivisionError: integer division or modulo by zero"]


def test_the_last_state_of_a_row_counts_however_late_it_is_moved(
    models: ModuleType, settings: Settings, using: str, resting: pytest.MonkeyPatch
) -> None:
    simon = person(models, "stagiaire", using)
    for name in ("Simone", "Simonette"):
        simon.username = name
        simon.save(using=using)
    team = models.Team(name="a")
    team.save(using=using)
    team.people.add(simon)
    assert move(using, 1).recorded == 3
    assert members(settings, "team_a") == ["Simonette"]


def test_what_is_gone_by_then_is_followed_no_more_but_said(
    models: ModuleType, settings: Settings, using: str, resting: pytest.MonkeyPatch
) -> None:
    stage = add_stage(models, using=using)
    group = f"stage_{stage.pk}"
    with own_transaction() as session:
        session.execute(text("INSERT INTO groups (name) VALUES (:name)"), {"name": group})
    with transaction.atomic(using=using):
        stage.status = "suspendu"
        stage.save(using=using)
        models.Stage.objects.using(using).all().delete()
    assert move(using, 1).recorded == 1, "only what this last transaction had to say never was"
    assert actions(settings) == ["created"]
    assert members(settings, group) == []


def test_what_is_deleted_in_the_transaction_that_saved_it_never_was_however_it_is_deleted(
    models: ModuleType, settings: Settings, using: str
) -> None:
    kept = add_stage(models, using=using)
    with transaction.atomic(using=using):
        stage = add_stage(models, "Autre", using)
        models.Report(title="R", stage=stage).save(using=using)
        models.Report(title="R", stage=kept).save(using=using)
        models.Stage.objects.using(using).filter(title="Autre").delete()
        with contextlib.suppress(ZeroDivisionError), transaction.atomic(using=using):
            models.Report.objects.using(using).all().delete()
            raise ZeroDivisionError
    assert actions(settings) == ["created", "uploaded"]
    assert waiting(using) == []


def test_the_application_records_what_no_signal_says_in_its_transaction(
    models: ModuleType, settings: Settings, using: str
) -> None:
    stage = add_stage(models, using=using)
    with transaction.atomic(using=using):
        models.Stage.objects.using(using).update(status="termine")
        record(happened("stage_update", "completed", {"stage_id": stage}), using)
        assert actions(settings) == ["created"]
    assert actions(settings) == ["created", "completed"]


@pytest.mark.parametrize("refused", [0, 1], ids=["all fine", "one refused"])
def test_a_bulk_load_is_moved_in_batches_of_few_statements(
    models: ModuleType, settings: Settings, using: str, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "BATCH", 50)
    stage = add_stage(models, using=using)
    with counted(settings) as statements, transaction.atomic(using=using):
        for n in range(150):
            models.Document(title=f"{n}" if n or not refused else "", stage=stage).save(using=using)
        assert statements == []
    assert [data["document_title"] for _, data in events(settings)[1:]] == [str(n) for n in range(refused, 150)]
    assert len(statements) <= 5 * 15 + refused * 120
    assert len(waiting(using)) == refused


def test_many_threads_that_commit_at_once_leave_nothing_behind_and_double_nothing(
    models: ModuleType, settings: Settings
) -> None:
    stage = add_stage(models, using="postgresql")
    together = threading.Barrier(4)

    def save(thread: int) -> None:
        together.wait(10)
        try:
            for n in range(10):
                models.Document(title=f"{thread} {n}", stage_id=stage.pk).save(using="postgresql")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(4)))
    titles = [data["document_title"] for _, data in events(settings)[1:]]
    assert sorted(titles) == sorted(f"{thread} {n}" for thread in range(4) for n in range(10))
    for thread in range(4):
        assert [title for title in titles if title[0] == str(thread)] == [f"{thread} {n}" for n in range(10)]
    assert waiting("postgresql") == []


def test_who_waits_too_long_for_another_process_leaves_it_to_that_one(
    models: ModuleType, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "notification_service")
    monkeypatch.setattr(moving, "TURN_SECONDS", 0.05)
    with own_transaction() as other:
        other.execute(text(moving.WAIT_FOR_TURN.format(milliseconds=1000)))
        add_stage(models)
        assert len(waiting()) == 1
        assert "outbox_is_being_moved" in caplog.text
    add_stage(models, "Autre")
    assert actions(settings) == ["created"] * 2


def test_a_key_that_another_transaction_holds_is_left_for_later(
    models: ModuleType, settings: Settings, resting: pytest.MonkeyPatch
) -> None:
    resting.setattr("shared.events.KEY_WAIT_MILLISECONDS", 50)
    hello = said("hello", idempotency_key="k")
    with own_transaction() as other:
        record_event(other, hello)
        record(hello)
        record(said("bye"))
        moved = move("default", 1)
        assert (moved.recorded, len(moved.left)) == (1, 1)
    assert (move("default", 1).recorded, actions(settings)) == (1, ["hello", "bye"])
    assert waiting() == []


def test_entries_that_another_process_holds_are_left_to_it(
    models: ModuleType, settings: Settings, resting: pytest.MonkeyPatch
) -> None:
    for action in ("one", "two"):
        record(said(action), "postgresql")
    other = connections["postgresql"].copy()
    other.set_autocommit(False)
    with other.cursor() as cursor:
        cursor.execute("SELECT FROM notification_service_outbox ORDER BY id LIMIT 1 FOR UPDATE")
        assert (move("postgresql", 1).recorded, len(waiting("postgresql"))) == (2, 1)
    other.close()
    assert move("postgresql", 1).recorded == 1
    assert (waiting("postgresql"), actions(settings)) == ([], ["one", "two"])


def test_what_json_can_not_hold_refuses_the_save(models: ModuleType, settings: Settings) -> None:
    from producer.integrations.django.registry import watches
    from shared.errors import InvalidInput

    before = watches[models.Team]
    watch(models.Team, Watch(inserted=lambda team: happened("system", "x", {"team": team})))
    with pytest.raises(InvalidInput, match="event: expected values that JSON can hold: .*Team"):
        models.Team.objects.create(name="a")
    watch(models.Team, before)
    assert not models.Team.objects.exists()
