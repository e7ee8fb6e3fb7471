"""Makes the earlier system's database: `python -m tests.shared.old_django.make ADDRESS [NOW]`; with NOW it is filled."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import django
from django.conf import settings
from django.core.management import call_command

TEMPLATES = [
    (
        "stage_update",
        "Stage {{ stage_id }}",
        "{% if tutor %}Tuteur : {{ tutor.name|default:'?' }}\n{% endif %}Bon stage !",
    ),
    ("survey", "Sondage : {survey_title}", "Répondez avant le {due[day]}, merci {person.name} !"),
]


def database(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:]}
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "HOST": host,
        "PORT": parts.port or "",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
    }


def main(address: str, now: datetime | None) -> None:
    here = "tests.shared.old_django"
    apps = ["django.contrib.contenttypes", "django.contrib.auth", f"{here}.accounts", f"{here}.notification_service"]
    settings.configure(
        DATABASES={"default": database(address)},
        INSTALLED_APPS=apps,
        AUTH_USER_MODEL="accounts.User",
        USE_TZ=True,
        MIGRATION_MODULES={"contenttypes": None, "auth": None},  # all tables at once
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    if now is not None:
        fill(now)


def fill(now: datetime) -> None:
    from tests.shared.old_django.accounts.models import Stage, User
    from tests.shared.old_django.notification_service.models import (
        Notification,
        NotificationEvent,
        NotificationTemplate,
    )

    stage = Stage.objects.create(title="Données")

    def person(pk: int, username: str, **more: Any) -> Any:
        return User.objects.create(pk=pk, username=username, email=f"{username}@example.test", **more)

    admin = person(1, "eleonore", first_name="Éléonore", last_name="Müller", role="admin")
    tuteur = person(2, "tom", first_name="Tom", role="tuteur", stage=stage)
    first = person(3, "aicha", first_name="Aïcha", last_name="N’Diaye", role="stagiaire", stage=stage)
    second = person(4, "samir", role="stagiaire")
    gone = person(5, "zoe", first_name="Zoé", role="stagiaire", is_active=False)
    none = person(6, "personne", role="")

    day = (now - timedelta(days=8)).replace(hour=9, minute=30, second=0, microsecond=0)  # in an earlier week

    def notify(recipient: Any, title: str, when: datetime, **more: Any) -> None:
        Notification.objects.create(
            recipient=recipient, title=title, message=more.pop("message", "Été à Besançon"), created_at=when, **more
        )

    event = NotificationEvent.objects.create(
        event_type="stage_update",
        event_data={"action": "created", "stage_id": stage.pk, "détails": ["Été", {"n": 1.5}]},
    )
    for n, recipient in enumerate((tuteur, first, second, gone)):
        notify(
            recipient,
            "Stage commencé",
            day + timedelta(seconds=n),
            event=event,
            notification_type="success",
            is_read=n == 0,
        )
    notify(
        first, "Stage commencé", day + timedelta(seconds=9), event=event, notification_type="success"
    )  # the same again
    for recipient in (admin, none):
        notify(
            recipient,
            "Maintenance",
            day + timedelta(days=1, microseconds=recipient.pk),
            notification_type="warning",
            is_read=True,
        )
    notify(first, "Bonjour Aïcha", day + timedelta(days=2), message="Pour vous seule", notification_type="info")
    notify(first, "Il y a longtemps", now - timedelta(days=60))

    for name, title, message in TEMPLATES:
        NotificationTemplate.objects.create(name=name, title_template=title, message_template=message)


if __name__ == "__main__":
    main(sys.argv[1], datetime.fromisoformat(sys.argv[2]) if len(sys.argv) > 2 else None)
