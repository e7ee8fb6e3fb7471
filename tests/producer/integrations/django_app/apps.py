"""What the application's changes mean."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig

from producer import Person, happened
from producer.integrations.django import Watch, watch


def status_changed(stage: Any, old: str, new: str) -> Any:
    if new == "termine":
        return happened("stage_update", "completed", {"stage_id": stage.pk})
    return happened("stage_update", "status_changed", {"stage_id": stage.pk, "old_status": old, "new_status": new})


class Application(AppConfig):
    name = "tests.producer.integrations.django_app"

    def ready(self) -> None:
        from tests.producer.integrations.django_app.models import Document, Stage, Team, User

        watch(
            User,
            Watch(
                person=lambda one: Person(one.pk, one.username, is_active=one.is_active), roles=lambda one: [one.role]
            ),
        )
        watch(
            Stage,
            Watch(
                inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.pk}),
                changed={
                    "status": status_changed,
                    "title": lambda stage, old, new: None,
                    "views": lambda stage, old, new: happened(
                        "stage_update", "updated", {"stage_id": stage.pk, "old": old, "new": new}
                    ),
                    "tuteur": lambda stage, old, new: happened(
                        "stage_update", "updated", {"stage_id": stage.pk, "old": old, "new": new}
                    ),
                },
                members=lambda stage: {
                    f"stage_{stage.pk}": [stage.tuteur_id, *stage.stagiaires.values_list("pk", flat=True)]
                },
            ),
        )
        watch(
            Document,
            Watch(
                inserted=lambda one: happened(
                    "document_upload", "uploaded", {"stage_id": one.stage_id, "document_title": one.title}
                )
            ),
        )
        watch(Team, Watch(members=lambda team: {f"team_{team.name}": team.people.values_list("pk", flat=True)}))
