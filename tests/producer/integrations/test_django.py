"""A small Django application: what it saves becomes events once it has committed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from io import StringIO
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from producer import SentEvent, happened
from producer.integrations.django.settings import environment
from shared.database import engine
from shared.errors import InvalidInput, SettingsError
from shared.models import NotificationEvent
from shared.redis import connect
from shared.settings import Settings, get_settings
from shared.tasks import EVENTS
from tests.company import Company
from tests.live_client import connect as open_browser
from tests.producer.integrations.document import DEBUG_COMMANDS, IMPORTS, USAGE, answers
from tests.producer.integrations.looking import SETTINGS_MODULE, actions, add_stage, events, members
from tests.system import ROOT, System, wait_until


def undo(models: ModuleType) -> None:
    """Add a stage and roll it back."""
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        add_stage(models, "Perdu")
        raise ZeroDivisionError


def test_a_save_is_an_event_once_it_is_committed_and_groups_hold_what_was_set_after_it(
    models: ModuleType, settings: Settings
) -> None:
    with transaction.atomic():
        stage = add_stage(models)
        assert actions(settings) == []
    assert actions(settings) == ["created"]
    assert members(settings, f"stage_{stage.pk}") == ["Simon", "Tom"]


def test_a_rollback_records_nothing(models: ModuleType, settings: Settings) -> None:
    undo(models)
    assert actions(settings) == []


def test_a_savepoint_that_is_rolled_back_takes_its_events_along(models: ModuleType, settings: Settings) -> None:
    with transaction.atomic():
        add_stage(models)
        undo(models)
    assert actions(settings) == ["created"]


def test_what_is_deleted_in_the_transaction_that_saved_it_never_was(models: ModuleType, settings: Settings) -> None:
    with transaction.atomic():
        add_stage(models).delete()
    assert actions(settings) == []


def test_a_request_that_fails_notifies_nobody_and_one_that_succeeds_does(
    models: ModuleType, settings: Settings
) -> None:
    from django.test import Client

    browser = Client(raise_request_exception=False)
    assert browser.post("/stages/", {"title": "Perdu", "fail": "yes"}).status_code == 500
    assert actions(settings) == []
    answer = browser.post("/stages/", {"title": "Gardé"})
    assert answer.status_code == 200
    assert actions(settings) == ["created"]
    assert members(settings, f"stage_{answer.content.decode()}") == ["Simon", "Tom"]


def test_a_change_has_the_old_and_the_new_value(models: ModuleType, settings: Settings) -> None:
    stage = add_stage(models)
    stage.status = "suspendu"
    stage.save()
    same = models.Stage.objects.only("title").get(pk=stage.pk)  # its status was never loaded
    same.status = "termine"
    same.save(update_fields=["status"])
    assert events(settings)[1:] == [
        ("status_changed", {"old_status": "en_cours", "new_status": "suspendu"}),
        ("completed", {}),
    ]


def test_what_the_database_holds_decides(models: ModuleType, settings: Settings) -> None:
    from django.db.models import F

    stage = add_stage(models)
    stage.views = F("views") + 1
    stage.save()
    stage.views, stage.status = "1", "termine"
    stage.save(update_fields=["views"])  # "1" is 1, and the status was not saved
    stage.refresh_from_db()
    stage.tuteur_id = None
    stage.save()
    assert [data for _, data in events(settings)[1:]] == [
        {"old": 0, "new": 1},
        {"old": models.User.objects.get(role="tuteur").pk},
    ]


def test_what_is_not_watched_not_changed_or_no_event_records_nothing(models: ModuleType, settings: Settings) -> None:
    stage = add_stage(models)
    stage.save()
    stage.title = "Autre titre"
    stage.save()
    assert actions(settings) == ["created"]


def test_people_and_their_roles_follow(models: ModuleType, settings: Settings) -> None:
    stagiaire = models.User.objects.get(role="stagiaire")
    stagiaire.username, stagiaire.role = "Simone", "tuteur"
    stagiaire.save()
    assert members(settings, "role_tuteur") == ["Simone", "Tom"]
    assert members(settings, "role_stagiaire") == []


def test_subclasses_are_watched_with_their_base(models: ModuleType, settings: Settings) -> None:
    stage = add_stage(models)
    models.Report.objects.create(title="Rapport", stage=stage)
    assert events(settings)[-1] == ("uploaded", {"document_title": "Rapport"})


def test_what_sends_no_signal_is_not_seen_and_breaks_nothing(models: ModuleType, settings: Settings) -> None:
    stage = add_stage(models)
    models.Stage.objects.filter(pk=stage.pk).update(status="termine")
    models.Document.objects.bulk_create([models.Document(title="D", stage=stage)])
    assert actions(settings) == ["created"]


def test_what_is_refused_is_logged_and_the_application_goes_on(
    models: ModuleType, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    stage = add_stage(models)
    with Session(engine(settings)) as session:
        session.execute(text("DELETE FROM memberships"))
        session.execute(text("DELETE FROM groups WHERE name = 'role_rh'"))
        session.commit()
    models.Document.objects.create(title="Rapport", stage_id=stage.pk)
    assert models.Document.objects.count() == 1
    assert actions(settings) == ["created"]
    line = next(record for record in caplog.records if record.name == "notification_service.django")
    assert line.levelname == "ERROR"
    assert "role_rh" in line.getMessage()


def test_the_workers_are_woken(models: ModuleType, settings: Settings) -> None:
    stage = add_stage(models)
    with connect(settings) as client:
        client.delete(EVENTS)
        models.Document.objects.create(title="D", stage=stage)
        assert client.llen(EVENTS) == 1


def test_a_field_that_does_not_exist_is_named(models: ModuleType) -> None:
    from producer.integrations.django import Watch, watch

    for name in ("statut", "stagiaires", "document"):
        with pytest.raises(InvalidInput, match=f"changed: expected a field of Stage: .*status.*, got '{name}'"):
            watch(models.Stage, Watch(changed={name: lambda stage, old, new: happened("system", None, {})}))


def test_the_settings_of_the_specification_are_those_of_the_process(models: ModuleType, settings: Settings) -> None:
    found = get_settings()
    assert (found.notification_queue_size, found.notification_retention_days, found.notification_batch_size) == (
        1000,
        30,
        100,
    )
    assert (found.webhook_url, found.email_fallback) == (None, True)
    assert found.redis_url == settings.redis


def test_a_command_prints_them_for_the_workers(models: ModuleType, settings: Settings) -> None:
    printed = StringIO()
    call_command("notification_environment", stdout=printed)
    assert printed.getvalue().splitlines()[:2] == ["NOTIFICATION_QUEUE_SIZE=1000", "NOTIFICATION_RETENTION_DAYS=30"]
    assert "CHANNEL_LAYERS=" in printed.getvalue()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        (("127.0.0.1", 6379), "redis://127.0.0.1:6379/0"),
        (["redis", 6380], "redis://redis:6380/0"),
        ("redis://:secret@redis:6379/1", "redis://:secret@redis:6379/1"),
        ({"address": "rediss://redis:6379"}, "rediss://redis:6379"),
        ({"address": ("redis", 6379)}, "redis://redis:6379/0"),
        ({"host": "redis", "db": 2, "password": "a/b"}, "redis://:a%2Fb@redis:6379/2"),
    ],
)
def test_every_form_of_a_channel_layer_is_understood(host: Any, address: str) -> None:
    layers = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}}
    assert environment(SimpleNamespace(CHANNEL_LAYERS=layers)) == {"CHANNEL_LAYERS": address}


@pytest.mark.parametrize(
    "layers",
    [
        7,
        {"other": {}},
        {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        {"default": {"CONFIG": {"hosts": [("a",)]}}},
    ],
)
def test_a_channel_layer_that_is_no_redis_is_refused(layers: Any) -> None:
    with pytest.raises(SettingsError, match="CHANNEL_LAYERS: expected Redis as"):
        environment(SimpleNamespace(CHANNEL_LAYERS=layers))


def test_other_settings_stand_under_their_own_names_and_unknown_ones_are_refused() -> None:
    given = {
        "DATABASE_URL": "postgresql://x",
        "SEND_ROLES": ["admin", "rh"],
        "EMAIL_FALLBACK": False,
        "DEFAULT_LOCALE": None,
    }
    assert environment(SimpleNamespace(NOTIFICATION_SETTINGS=given)) == {
        "DATABASE_URL": "postgresql://x",
        "SEND_ROLES": "admin,rh",
        "EMAIL_FALLBACK": "False",
    }
    assert environment(SimpleNamespace()) == {}
    with pytest.raises(SettingsError, match="NOTIFICATION_SETTINGS: expected .*QUEUE_SIZE.*, got QUEUE_SIZ$"):
        environment(SimpleNamespace(NOTIFICATION_SETTINGS={"QUEUE_SIZ": 1}))


FRESH = """
from django.conf import settings
settings.INSTALLED_APPS = ["producer.integrations.django"]
settings.LOGGING = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"own": {"format": "MINE %(levelname)s %(name)s %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "loggers": {"notification_service": {"handlers": ["own"], "level": "DEBUG"}},
}
import django
django.setup()
from django.apps import apps
from shared.logs import get_logger
from shared.settings import get_settings
get_logger("django").debug("hello", stage=7)
print(apps.get_app_config("notification_service").name, get_settings().notification_queue_size, get_settings().notification_retention_days)
"""


def test_in_a_fresh_process_by_its_other_name_django_s_logging_and_the_environment_decide(settings: Settings) -> None:
    variables = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SETTINGS_MODULE,
        "NOTIFICATION_QUEUE_SIZE": "7",
        "NOTIFICATION_RETENTION_DAYS": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, text=True, cwd=ROOT, env=variables, check=False
    )
    assert done.stderr == "MINE DEBUG notification_service.django event=hello stage=7\n"
    assert done.stdout == "producer.integrations.django 7 30\n"


def test_the_pipeline_of_the_specification_works_as_written(system: System, company: Company, started: None) -> None:
    from producer.integrations.django import notification_service

    company.person("1", "role_stagiaire")
    company.person("2", "role_tuteur")
    company.person("3", "role_rh")
    # 1. Create event
    event = notification_service.create_event(
        event_type='stage_update',
        event_data={'stage_id': 123, 'status': 'en_cours'},
        target_roles=['stagiaire', 'tuteur']
    )  # fmt: skip
    # 2. Process event
    notifications = notification_service.process_event(event)
    assert sorted(one.recipient.role for one in notifications) == ["stagiaire", "tuteur"]
    assert event.processed


def test_through_real_workers_it_reaches_the_participants_of_the_new_stage(
    system: System, models: ModuleType, settings: Settings
) -> None:
    add_stage(models)
    with Session(engine(settings)) as session:
        sent = SentEvent(session.scalars(select(NotificationEvent)).one(), settings)
    assert sorted(one.recipient.name for one in sent) == ["Simon", "Tom"]


def test_the_usage_examples_of_the_document_reach_people(system: System, models: ModuleType, company: Company) -> None:
    rh, stagiaire = models.User.objects.get(role="rh"), models.User.objects.get(role="stagiaire")
    admin = models.User.objects.create(username="Ada", role="admin")
    for pk in (456, 789):
        models.User.objects.create(pk=pk, username=f"P{pk}", role="tuteur")
    company.groups("stage_123", "survey_456")
    names = {"admin_user": admin, "stagiaire_user": stagiaire, "rh_user": rh, "User": models.User}
    with open_browser(system.base_url, company.token(str(stagiaire.pk))):
        exec(USAGE, names)
        assert sorted({one.recipient.role for one in names["notifications"]}) == ["stagiaire", "tuteur"]
        exec(IMPORTS, names)
        wait_until(lambda: answers(DEBUG_COMMANDS, names)[1:] == [2, 1, 0], "the debug commands show it")
