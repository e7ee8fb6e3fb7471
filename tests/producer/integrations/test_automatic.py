"""Every event that the specification calls automatic, out of rows of an application's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Identity, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from producer import happened
from producer.integrations.sqlalchemy import Watch, unwatch, watch
from shared.database import engine
from shared.models import NotificationEvent
from shared.settings import Settings
from tests.company import Company

# By event type: each action, and the title that says it.
AUTOMATIC = {
    "stage_update": {
        "created": "Nouveau stage",
        "updated": "Stage mis à jour",
        "completed": "Stage terminé",
        "status_changed": "Statut du stage modifié",
    },
    "document_upload": {
        "uploaded": "Document déposé",
        "approved": "Document approuvé",
        "rejected": "Document refusé",
        "modified": "Document modifié",
    },
    "survey": {"new": "Nouveau sondage", "completed": "Sondage terminé", "reminder": "Rappel de sondage"},
    "evaluation": {
        "completed": "Évaluation terminée",
        "results": "Résultats d’évaluation",
        "feedback": "Retour d’évaluation",
    },
    "kpi_alert": {
        "alert": "Alerte KPI",
        "threshold_breached": "Seuil KPI franchi",
        "performance_updated": "Performance mise à jour",
    },
    "testimonial": {
        "submitted": "Témoignage déposé",
        "approved": "Témoignage approuvé",
        "requested": "Témoignage demandé",
    },
}
DATA = {
    "stage_id": 7, "document_title": "Rapport", "new_status": "termine", "survey_id": 4, "survey_title": "Satisfaction",
    "evaluator_id": 3, "evaluated_id": 1, "evaluation_type": "mid_stage", "alert_message": "Trop bas", "kpi": "Assiduité",
    "value": 0.6, "threshold": 0.8, "testimonial_title": "Merci",
}  # fmt: skip


class Base(DeclarativeBase):
    """The application's own tables, beside ours in one database."""


class Occurrence(Base):
    """What happened there: its row is inserted as `planned`, and `done` when it has happened."""

    __tablename__ = "app_occurrences"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    event_type: Mapped[str]
    action: Mapped[str]
    state: Mapped[str] = mapped_column(default="planned")


@pytest.fixture
def own(settings: Settings, company: Company) -> Iterator[Session]:
    """The session of an application that watches its occurrences."""
    company.person("1", "role_stagiaire", "stage_7", "survey_4")
    company.person("3", "role_tuteur", "stage_7")
    company.person("5", "role_rh")
    Base.metadata.create_all(engine(settings))
    watch(Occurrence, Watch(changed={"state": lambda one, old, new: happened(one.event_type, one.action, DATA)}))
    with Session(engine(settings)) as session:
        yield session
    unwatch(Occurrence)
    Base.metadata.drop_all(engine(settings))


@pytest.mark.parametrize("event_type", AUTOMATIC)
def test_a_change_of_a_row_is_each_of_these_events(own: Session, event_type: str) -> None:
    rows = [Occurrence(event_type=event_type, action=action) for action in AUTOMATIC[event_type]]
    own.add_all(rows)
    own.commit()
    assert own.scalars(select(NotificationEvent)).all() == []
    for row in rows:
        row.state = "done"
    own.commit()
    events = own.scalars(select(NotificationEvent).order_by(NotificationEvent.id)).all()
    assert {event.event_type for event in events} == {event_type}
    assert {event.data["action"]: event.texts["fr"]["title"] for event in events} == AUTOMATIC[event_type]
