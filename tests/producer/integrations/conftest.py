"""A Django application of two databases, SQLite and PostgreSQL, set up once for this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType

import django
import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connections, transaction
from sqlalchemy import text

from producer.integrations.django import moving
from shared.database import engine
from shared.settings import Settings, get_settings
from tests.producer.integrations.looking import SETTINGS_MODULE


@pytest.fixture(scope="package")
def started(settings: Settings) -> Iterator[None]:
    """Django, set up and migrated; what its settings said is forgotten afterwards. Again when files of other
    folders came between."""
    before = dict(os.environ)
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS_MODULE
    try:
        _set_up(settings)
        yield
    finally:
        connections.close_all()
        os.environ.clear()
        os.environ.update(before)
        get_settings.cache_clear()


def _set_up(settings: Settings) -> None:
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = 'application'")) == 0:
            connection.execute(text("CREATE DATABASE application"))
    django.setup()
    apps.get_app_config("notification_service").ready()  # setup() does nothing the second time
    for alias in connections:
        call_command("migrate", run_syncdb=True, verbosity=0, database=alias)


@pytest.fixture
def models(started: None, clean: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The application's models. In each database there is an rh, a stagiaire and a tuteur; they are known to us."""
    from tests.producer.integrations.django_app import models

    monkeypatch.setattr(moving, "_rest_until", 0.0)
    for alias in connections:
        with transaction.atomic(using=alias):
            make_anew(models, alias)
    return models


def make_anew(models: ModuleType, alias: str) -> None:
    from producer.integrations.django.models import OutboxEntry

    for model in (models.Report, models.Document, models.Stage, models.Team, models.User, OutboxEntry):
        model.objects.using(alias).all().delete()
    for pk, (name, role) in enumerate((("Rhéa", "rh"), ("Simon", "stagiaire"), ("Tom", "tuteur")), start=1):
        models.User(pk=pk, username=name, role=role).save(using=alias)


@pytest.fixture(params=["default", "postgresql"], ids=["sqlite", "postgresql"])
def using(request: pytest.FixtureRequest) -> str:
    """Each of the application's databases."""
    return str(request.param)
