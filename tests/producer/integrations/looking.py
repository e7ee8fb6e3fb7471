"""What applications did, and what of it is recorded in our database."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from django.db import transaction
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from shared.database import engine
from shared.models import NotificationEvent
from shared.settings import Settings

SETTINGS_MODULE = "tests.producer.integrations.django_app.settings"
MEMBERS = text("SELECT name FROM memberships JOIN users ON users.id = user_id WHERE group_name = :group ORDER BY name")


def events(settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    """Actions and data of what is committed, in the order of recording."""
    with Session(engine(settings)) as session:
        found = session.scalars(select(NotificationEvent).order_by(NotificationEvent.id))
        return [
            (
                event.data["action"],
                {name: value for name, value in event.data.items() if name not in ("action", "stage_id")},
            )
            for event in found
        ]


def actions(settings: Settings) -> list[str]:
    return [action for action, _ in events(settings)]


def members(settings: Settings, group: str) -> list[str]:
    with Session(engine(settings)) as session:
        return list(session.scalars(MEMBERS, {"group": group}))


def add_stage(models: ModuleType, title: str = "Données", using: str = "default") -> Any:
    """A stage of Django's application, with its people, in one transaction."""
    with transaction.atomic(using=using):
        stage = models.Stage.objects.using(using).create(title=title, tuteur=person(models, "tuteur", using))
        stage.stagiaires.set([person(models, "stagiaire", using)])
    return stage


def person(models: ModuleType, role: str, using: str = "default") -> Any:
    return models.User.objects.using(using).get(role=role)


def waiting(using: str = "default") -> list[Any]:
    """What stands in the outbox of one of its databases."""
    from producer.integrations.django.models import OutboxEntry

    return list(OutboxEntry.objects.using(using).order_by("pk"))
