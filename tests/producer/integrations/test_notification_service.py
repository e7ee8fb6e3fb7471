"""`notification_service`, the earlier system's package: code that imports it goes on working, unchanged."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from producer.integrations.django.checks import check_package
from shared.errors import InvalidInput
from shared.settings import Settings
from tests.company import Company
from tests.producer.integrations.document import DEBUG_COMMANDS, DEBUG_LOGGING, IMPORTS, answers
from tests.system import ROOT


def test_the_debug_commands_of_the_document_answer(models: ModuleType, company: Company) -> None:
    models.User.objects.filter(role="rh").update(is_active=False)
    company.groups("role_nobody")
    company.notify("1", "2", title="Un")
    company.notify("2", title="Deux")
    names: dict[str, Any] = {"User": models.User}
    exec(IMPORTS, names)
    people, by_role, connected, unprocessed = answers(DEBUG_COMMANDS, names)
    assert [(one["username"], one["role"]) for one in people] == [("Simon", "stagiaire"), ("Tom", "tuteur")]
    assert (by_role, connected, unprocessed) == (2, 0, 0)


def test_enabling_debug_logging_shows_what_is_moved(models: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("notification_service")
    level = logger.level
    try:
        models.User.objects.create(username="A", role="rh")
        assert "outbox_moved" not in caplog.text
        exec(DEBUG_LOGGING, {})
        models.User.objects.create(username="B", role="rh")
        assert "outbox_moved" in caplog.text
    finally:
        logger.setLevel(level)


def test_the_migration_commands_of_the_document_work_beside_the_earlier_system_s(models: ModuleType) -> None:
    """Its rows in django_migrations, under the same label, don't make ours look applied."""
    using = connections["postgresql"]
    call_command("migrate", "notification_service", "zero", database="postgresql", verbosity=0)
    with using.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('notification_service', '0001_initial', now())"
        )
        cursor.execute("CREATE TABLE notification_service_notification (id bigint PRIMARY KEY)")
    printed = StringIO()
    call_command("makemigrations", "notification_service", stdout=printed)
    call_command("migrate", database="postgresql", verbosity=0)
    call_command("showmigrations", "notification_service", database="postgresql", stdout=printed)
    assert printed.getvalue().split("\n", 1)[0] == "No changes detected in app 'notification_service'"
    assert "[X] 0001_outbox" in printed.getvalue()
    assert {"notification_service_outbox", "notification_service_notification"} <= set(
        using.introspection.table_names()
    )
    with using.cursor() as cursor:
        cursor.execute("DROP TABLE notification_service_notification")


def test_rows_are_filtered_counted_and_read(models: ModuleType, company: Company, settings: Settings) -> None:
    from notification_service.models import (
        Notification,
        NotificationEvent,
        NotificationTemplate,
        User,
        WebSocketConnection,
    )

    first = company.notify("1", "2", title="Un", notification_type="warning")
    second = company.notify("2", title="Deux")
    assert Notification.objects.count() == len(Notification.objects.all()) == 3
    assert [(one.id, one.recipient, one.recipient__role, one.title) for one in Notification.objects.all()] == [
        (second, "2", "stagiaire", "Deux"),
        (first, "1", "rh", "Un"),
        (first, "2", "stagiaire", "Un"),
    ]
    mine = Notification.objects.filter(recipient=models.User.objects.get(pk=2))
    assert mine.count() == Notification.objects.filter(recipient=2).count() == 2
    assert list(mine.filter(notification_type__in=["warning"]).values("title", "is_read")) == [
        {"title": "Un", "is_read": False}
    ]
    assert mine.filter(created_at__gte=datetime.now(UTC) - timedelta(minutes=1)).count() == 2
    assert mine.filter(created_at__lte=datetime.now(UTC) - timedelta(minutes=1)).first() is None
    assert mine[:1][0].title == mine.first().title == "Deux"
    assert repr(mine.values("title")) == "<notifications [{'title': 'Deux'}, {'title': 'Un'}]>"
    assert Notification.objects.filter(recipient__role__in=["rh", "admin"], is_read=False).exists()
    assert NotificationEvent.objects.filter(processed=True, event_data={}).count() == 2
    assert User.objects.filter(is_active=True, role="rh").first().username == "Rhéa"
    assert not WebSocketConnection.objects.filter(user__role="rh").exists()
    assert list(NotificationTemplate.objects.all()) == []


@pytest.mark.parametrize(
    ("lookups", "message"),
    [
        ({"recipient__rol": "rh"}, "notifications: expected one of id, recipient, .*, alone or with __exact, __in, .*, got 'recipient__rol'"),
        ({"title__startswith": "U"}, "got 'title__startswith'"),
        ({"recipient__role__gte": "rh"}, "expected recipient__role or recipient__role__in, got 'recipient__role__gte'"),
        ({"is_read": "yes"}, "is_read: expected True or False, got 'yes'"),
        ({"id": "7"}, "id: expected a number, got '7'"),
        ({"created_at": "2026"}, "created_at: expected a datetime, got '2026'"),
    ],
)  # fmt: skip
def test_an_unknown_lookup_is_refused_with_the_known_ones(started: None, lookups: dict[str, Any], message: str) -> None:
    from notification_service.models import Notification

    with pytest.raises(InvalidInput, match=message):
        Notification.objects.filter(**lookups)
    with pytest.raises(InvalidInput, match="expected one of id, recipient"):
        Notification.objects.values("text")
    with pytest.raises(InvalidInput, match=r"a slice such as \[:20\]"):
        Notification.objects.all()[3]  # type: ignore[index]


def test_routes_to_the_earlier_consumers_refuse_websockets_and_say_where_they_are_served(
    started: None, caplog: pytest.LogCaptureFixture
) -> None:
    from notification_service.consumers import NotificationConsumer

    from notification_service import consumers

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(NotificationConsumer.as_asgi()({"type": "websocket", "path": "/ws/notifications/"}, receive, send))
    assert sent == [{"type": "websocket.close"}]
    assert "the gateway serves /ws/notifications/" in caplog.text
    assert consumers.RoleNotificationConsumer is NotificationConsumer
    with pytest.raises(AttributeError, match="the gateway serves"):
        _ = consumers.group_name


def test_an_earlier_application_s_folder_comes_first_and_the_check_says_so(
    started: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_package() == []
    theirs = tmp_path / "notification_service"
    theirs.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "notification_service")
    assert check_package() == [], "a folder that is left without modules is none"
    (theirs / "__init__.py").touch()
    (found,) = check_package()
    assert f"leads to {theirs}/__init__.py, not to StageBloom's {ROOT}/notification_service.py" in found.msg


BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"
USE = """
import django, sys
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["notification_service"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("makemigrations", "notification_service", check=True, verbosity=0)
call_command("deliver_notifications", "--show")
import notification_service.consumers, notification_service.models
from notification_service.role_notifications import RoleNotificationHelper
from notification_service.services import NotificationService, notification_service as service
print(sys.modules["notification_service"].__file__)
"""


def test_the_wheel_brings_the_package_and_its_migration(settings: Settings, tmp_path: Path) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.py", "*.cfg", "*.toml", "README.md"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(lambda name: not name.startswith(("tests/", "benchmarks/")), tracked.stdout.split("\0")):
        if name and (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([sys.executable, "-c", BUILD], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    installed = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {"PYTHONPATH": str(installed), "DATABASE_URL": settings.database, "REDIS_URL": settings.redis}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=installed, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{installed}/notification_service.py"]
