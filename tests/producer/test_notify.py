"""Each function reaches whom the specification names, and says it in French and in English."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

import producer
from producer import notify, user
from shared.catalog import load_catalog
from shared.database import engine
from shared.errors import InvalidInput, UnknownGroup
from shared.models import NotificationEvent
from shared.settings import Settings
from tests.broken_broker import quiet_broker
from tests.company import Company
from workers.planning import process_events

FUNCTIONS = {
    name: function
    for name, function in vars(notify).items()
    if name.startswith("notify_") and inspect.isfunction(function)
}
REACHED = text(
    "SELECT external_id FROM event_batches, unnest(recipient_ids) AS id JOIN users USING (id) WHERE event_id = :id ORDER BY 1"
)

DOCUMENT: dict[str, Any] = {"stage_id": 7, "document_title": "Rapport"}
SURVEY: dict[str, Any] = {"survey_id": 4, "survey_title": "Satisfaction"}
EVALUATION: dict[str, Any] = {"stage_id": 7, "evaluator_id": 6, "evaluated_id": 1, "evaluation_type": "mid_stage"}
PERSON: dict[str, Any] = {"user_id": 1, "user_name": "Élise Noël"}

# The function and its arguments; event_type, action and type of the event; who gets it; what it says.
# 1 and 3 are stagiaire and tuteur of stage 7, 2 and 4 of stage 8; 5 and 6 are rh, 5 of company 3; 7 is
# admin. 1 takes part in survey 4. 8 is in nothing but stage 7, and left.
CALLS: list[tuple[str, dict[str, Any], str, str, str, str]] = [
    (
        "notify_new_stage_created",
        {"stage_id": 7},
        "stage_update created info",
        "1 3",
        "Le stage 7 a été créé.",
        "Internship 7 was created.",
    ),
    (
        "notify_stage_updated",
        {"stage_id": 7},
        "stage_update updated info",
        "1 3",
        "Le stage 7 a été mis à jour.",
        "Internship 7 was updated.",
    ),
    (
        "notify_stage_completed",
        {"stage_id": 7},
        "stage_update completed success",
        "1 3 5 6",
        "Le stage 7 est terminé.",
        "Internship 7 is completed.",
    ),
    (
        "notify_stage_status_changed",
        {"stage_id": 7, "new_status": "termine"},
        "stage_update status_changed info",
        "1 3",
        "Le stage 7 a maintenant le statut « termine ».",
        "Internship 7 now has the status “termine”.",
    ),
    (
        "notify_student_progress",
        {"stage_id": 7, "progress": "60 %"},
        "stage_update progress info",
        "3",
        "Stage 7 : 60 %",
        "Internship 7: 60 %",
    ),
    (
        "notify_document_uploaded",
        DOCUMENT,
        "document_upload uploaded info",
        "1 3 5 6",
        "« Rapport » a été déposé pour le stage 7.",
        "“Rapport” was uploaded to internship 7.",
    ),
    (
        "notify_document_approved",
        DOCUMENT,
        "document_upload approved success",
        "1 3",
        "« Rapport » a été approuvé (stage 7).",
        "“Rapport” was approved (internship 7).",
    ),
    (
        "notify_document_approved",
        {**DOCUMENT, "owner_id": 2},
        "document_upload approved success",
        "2 3",
        "« Rapport » a été approuvé (stage 7).",
        "“Rapport” was approved (internship 7).",
    ),
    (
        "notify_document_rejected",
        DOCUMENT,
        "document_upload rejected warning",
        "1 3",
        "« Rapport » a été refusé (stage 7).",
        "“Rapport” was rejected (internship 7).",
    ),
    (
        "notify_document_modified",
        DOCUMENT,
        "document_upload modified info",
        "1 3 5 6",
        "« Rapport » a été modifié (stage 7).",
        "“Rapport” was modified (internship 7).",
    ),
    (
        "notify_pfe_report_submitted",
        DOCUMENT,
        "document_upload pfe_report_submitted info",
        "3 5 6",
        "Le rapport « Rapport » du stage 7 a été remis.",
        "The report “Rapport” of internship 7 was submitted.",
    ),
    (
        "notify_survey_available",
        SURVEY,
        "survey new info",
        "1 5 6",
        "Le sondage « Satisfaction » est disponible.",
        "The survey “Satisfaction” is available.",
    ),
    (
        "notify_survey_completed",
        SURVEY,
        "survey completed success",
        "5 6",
        "Le sondage « Satisfaction » est terminé.",
        "The survey “Satisfaction” is completed.",
    ),
    (
        "notify_survey_reminder",
        SURVEY,
        "survey reminder warning",
        "1",
        "Le sondage « Satisfaction » attend votre réponse.",
        "The survey “Satisfaction” awaits your answer.",
    ),
    (
        "notify_evaluation_completed",
        EVALUATION,
        "evaluation completed success",
        "1 3 6",
        "L’évaluation « mid_stage » est terminée.",
        "The evaluation “mid_stage” is completed.",
    ),
    (
        "notify_evaluation_results",
        EVALUATION,
        "evaluation results info",
        "1 6",
        "Les résultats de l’évaluation « mid_stage » sont disponibles.",
        "The results of the evaluation “mid_stage” are available.",
    ),
    (
        "notify_evaluation_feedback",
        EVALUATION,
        "evaluation feedback info",
        "1 6",
        "Un commentaire a été ajouté à l’évaluation « mid_stage ».",
        "Feedback was added to the evaluation “mid_stage”.",
    ),
    (
        "notify_evaluation_requested",
        EVALUATION,
        "evaluation requested warning",
        "1 6",
        "L’évaluation « mid_stage » est à faire.",
        "The evaluation “mid_stage” is to be done.",
    ),
    (
        "notify_kpi_alert",
        {"stage_id": 7, "alert_message": "Trop bas"},
        "kpi_alert alert warning",
        "3 5 6",
        "Stage 7 : Trop bas",
        "Internship 7: Trop bas",
    ),
    (
        "notify_kpi_alert",
        {"stage_id": 7, "alert_message": "Panne", "alert_level": "error"},
        "kpi_alert alert error",
        "3 5 6",
        "Stage 7 : Panne",
        "Internship 7: Panne",
    ),
    (
        "notify_kpi_threshold_breached",
        {"stage_id": 7, "kpi": "Assiduité", "value": 0.6, "threshold": 0.8},
        "kpi_alert threshold_breached warning",
        "3 5 6",
        "Stage 7 : Assiduité est à 0.6 (seuil : 0.8).",
        "Internship 7: Assiduité is at 0.6 (threshold: 0.8).",
    ),
    (
        "notify_performance_updated",
        {"stage_id": 7, "kpi": "Assiduité", "value": "95 %"},
        "kpi_alert performance_updated info",
        "3 5 6",
        "Stage 7 : Assiduité est maintenant à 95 %.",
        "Internship 7: Assiduité is now at 95 %.",
    ),
    (
        "notify_kpi_report",
        {"report_title": "Mars"},
        "kpi_alert report info",
        "5 6",
        "Le rapport KPI « Mars » est disponible.",
        "The KPI report “Mars” is available.",
    ),
    (
        "notify_testimonial_submitted",
        {"stage_id": 7, "testimonial_title": "Merci"},
        "testimonial submitted success",
        "1 3 5 6",
        "« Merci » a été déposé pour le stage 7.",
        "“Merci” was submitted for internship 7.",
    ),
    (
        "notify_testimonial_approved",
        {"stage_id": 7, "testimonial_title": "Merci"},
        "testimonial approved success",
        "1 3 5 6",
        "« Merci » a été approuvé (stage 7).",
        "“Merci” was approved (internship 7).",
    ),
    (
        "notify_testimonial_requested",
        {"stage_id": 7},
        "testimonial requested warning",
        "1",
        "Votre témoignage sur le stage 7 est attendu.",
        "Your testimonial about internship 7 is awaited.",
    ),
    (
        "notify_demande_created",
        {"demande_id": 12},
        "demande created info",
        "5 6",
        "La demande 12 a été déposée.",
        "Application 12 was submitted.",
    ),
    (
        "notify_demande_created",
        {"demande_id": 12, "entreprise_id": 3, "candidate_id": 2},
        "demande created info",
        "2 5",
        "La demande 12 a été déposée.",
        "Application 12 was submitted.",
    ),
    (
        "notify_demande_decided",
        {"demande_id": 12, "candidate_id": 2},
        "demande decided info",
        "2 5 6",
        "Une décision a été prise sur la demande 12.",
        "Application 12 was decided.",
    ),
    (
        "notify_demande_decided",
        {"demande_id": 12, "accepted": True, "entreprise_id": 3, "candidate_id": 2},
        "demande accepted success",
        "2 5",
        "La demande 12 a été acceptée.",
        "Application 12 was accepted.",
    ),
    (
        "notify_demande_decided",
        {"demande_id": 12, "accepted": False, "entreprise_id": 3, "candidate_id": 2},
        "demande refused warning",
        "2 5",
        "La demande 12 a été refusée.",
        "Application 12 was refused.",
    ),
    (
        "notify_offer_published",
        {"offer_title": "Données"},
        "demande offer_published info",
        "1 2",
        "L’offre « Données » est disponible.",
        "The offer “Données” is available.",
    ),
    (
        "notify_person_created",
        PERSON,
        "user_action person_created info",
        "7",
        "Le compte de Élise Noël a été créé.",
        "The account of Élise Noël was created.",
    ),
    (
        "notify_roles_changed",
        {**PERSON, "roles": ["rh", "tuteur"]},
        "user_action roles_changed info",
        "7",
        "Les rôles de Élise Noël sont maintenant : rh, tuteur.",
        "The roles of Élise Noël are now: rh, tuteur.",
    ),
    (
        "notify_person_deactivated",
        PERSON,
        "user_action person_deactivated warning",
        "7",
        "Le compte de Élise Noël a été désactivé.",
        "The account of Élise Noël was deactivated.",
    ),
    ("notify_maintenance", {"details": "Ce soir"}, "system maintenance warning", "7", "Ce soir", "Ce soir"),
    (
        "notify_critical_error",
        {"details": "Disque plein"},
        "system critical_error error",
        "7",
        "Disque plein",
        "Disque plein",
    ),
    ("notify_system_statistics", {"details": "12 stages"}, "system statistics info", "7", "12 stages", "12 stages"),
]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return quiet_broker(settings)


@pytest.fixture
def people(company: Company) -> Company:
    company.person("1", "role_stagiaire", "stage_7", "survey_4")
    company.person("2", "role_stagiaire", "stage_8")
    company.person("3", "role_tuteur", "stage_7")
    company.person("4", "role_tuteur", "stage_8")
    company.person("5", "role_rh", "entreprise_3")
    company.person("6", "role_rh")
    company.person("7", "role_admin")
    company.person("8", "role_stagiaire", "stage_7", is_active=False)
    return company


@pytest.fixture
def own(settings: Settings, people: Company) -> Iterator[Session]:
    """The caller's session: what it records is never committed."""
    with Session(engine(settings)) as session:
        yield session


def reached(session: Session, settings: Settings, event_id: int) -> str:
    """Who is in the plan, by the code of the workers."""
    process_events(session, settings, only=event_id)
    return " ".join(session.scalars(REACHED, {"id": event_id}))


@pytest.mark.parametrize(
    ("name", "arguments", "row", "who", "french", "english"),
    CALLS,
    ids=[f"{call[0]}-{call[2].split()[1]}" for call in CALLS],
)
def test_it_reaches_exactly_those_and_says_it_in_both_languages(
    own: Session,
    settings: Settings,
    name: str,
    arguments: dict[str, Any],
    row: str,
    who: str,
    french: str,
    english: str,
) -> None:
    event = getattr(producer, name)(**arguments, session=own, settings=settings).event
    assert f"{event.event_type} {event.data['action']} {event.notification_type}" == row
    assert event.category == event.event_type.upper()
    assert {locale: words["message"] for locale, words in event.texts.items()} == {"fr": french, "en": english}
    assert reached(own, settings, event.id) == who


def test_every_function_is_tested_and_every_row_of_the_catalogue_has_a_function() -> None:
    assert {call[0] for call in CALLS} == set(FUNCTIONS)
    rows = {f"{name} {action}" for name, row in load_catalog(None).items() for action in row.actions}
    assert {" ".join(call[2].split()[:2]) for call in CALLS} == rows


# What the specification lists under "Notification Types, By Role", and by which function each is said. The person
# has that role: 1 is stagiaire, 3 tuteur, 5 rh, 7 admin.
BY_ROLE = {
    "1": "stage_updated document_approved survey_available evaluation_completed testimonial_requested",
    "3": "stage_updated document_uploaded evaluation_completed kpi_alert student_progress",
    "5": "demande_created pfe_report_submitted testimonial_submitted survey_completed kpi_report",
    "7": "critical_error person_created roles_changed person_deactivated maintenance system_statistics",
}


@pytest.mark.parametrize("person", BY_ROLE, ids=["stagiaire", "tuteur", "rh", "admin"])
def test_each_role_is_notified_of_what_the_specification_lists_for_it(
    own: Session, settings: Settings, person: str
) -> None:
    arguments = {call[0]: call[1] for call in reversed(CALLS)}
    for name in BY_ROLE[person].split():
        function = f"notify_{name}"
        sent = getattr(producer, function)(**arguments[function], session=own, settings=settings)
        assert person in reached(own, settings, sent.id).split(), name
    everyone = producer.NotificationService(own, settings).create_event("system")
    assert person in reached(own, settings, everyone.id).split(), "system-wide"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_public_and_takes_a_source_user(name: str) -> None:
    assert name in producer.__all__
    assert inspect.signature(FUNCTIONS[name]).parameters["source_user"].default is None


SIGNATURES = {  # of the specification: the names in its order
    "notify_new_stage_created": "stage_id source_user",
    "notify_document_uploaded": "stage_id document_title source_user",
    "notify_survey_available": "survey_id survey_title source_user",
    "notify_kpi_alert": "stage_id alert_message alert_level source_user",
    "notify_testimonial_submitted": "stage_id testimonial_title source_user",
    "notify_evaluation_completed": "stage_id evaluator_id evaluated_id evaluation_type source_user",
}


@pytest.mark.parametrize(("name", "parameters"), SIGNATURES.items())
def test_the_six_convenience_functions_have_the_specification_s_signatures(name: str, parameters: str) -> None:
    assert " ".join(inspect.signature(FUNCTIONS[name]).parameters).removesuffix(" options") == parameters


def test_people_and_stages_may_be_objects_with_an_id(own: Session, settings: Settings) -> None:
    stage, evaluator, evaluated = SimpleNamespace(id=7), SimpleNamespace(id=6), SimpleNamespace(external_id="1", id=99)
    event = notify.notify_evaluation_completed(
        stage, evaluator, evaluated, "final", evaluator, session=own, settings=settings
    ).event
    assert event.data == {
        "action": "completed",
        "stage_id": "7",
        "evaluator_id": "6",
        "evaluated_id": "1",
        "evaluation_type": "final",
    }
    assert event.source_user_id is not None
    assert reached(own, settings, event.id) == "1 3 6"


def test_ids_stand_in_the_data_as_the_application_writes_them(own: Session, settings: Settings) -> None:
    for stage_id in (7, "7"):
        assert notify.notify_stage_updated(stage_id, session=own, settings=settings).event.data["stage_id"] == stage_id


def test_a_change_of_status_says_what_it_was_and_what_it_is(own: Session, settings: Settings) -> None:
    event = notify.notify_stage_status_changed(7, "termine", "en_cours", session=own, settings=settings).event
    assert event.data == {
        "action": "status_changed",
        "stage_id": 7,
        "old_status": "en_cours",
        "new_status": "termine",
    }


def test_what_else_is_to_be_said_is_said(own: Session, settings: Settings) -> None:
    sent = notify.notify_document_uploaded(
        **DOCUMENT,
        session=own,
        settings=settings,
        exclude=[user(5)],
        link="/documents/9",
        thread_key="stage 7",
        priority="high",
        data={"pages": 80},
    )
    assert (sent.event.link, sent.event.thread_key, sent.event.priority) == ("/documents/9", "stage 7", "high")
    assert sent.event.data == {"action": "uploaded", "pages": 80, "stage_id": 7, "document_title": "Rapport"}
    assert reached(own, settings, sent.id) == "1 3 6"


def test_a_critical_error_is_of_critical_priority_unless_said_otherwise(own: Session, settings: Settings) -> None:
    assert notify.notify_critical_error("D", session=own, settings=settings).event.priority == "critical"
    assert notify.notify_critical_error("D", priority="high", session=own, settings=settings).event.priority == "high"


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (UnknownGroup, "survey_456", lambda options: notify.notify_survey_available(456, "S", **options)),
        (UnknownGroup, "stage_99", lambda options: notify.notify_new_stage_created(99, **options)),
        (UnknownGroup, "user_55", lambda options: notify.notify_evaluation_completed(7, 55, 1, "mid_stage", **options)),
        (InvalidInput, "source_user", lambda options: notify.notify_maintenance("M", "nobody", **options)),
        (
            InvalidInput,
            r"data\.alert_level: expected one of info",
            lambda options: notify.notify_kpi_alert(7, "M", "critical", **options),
        ),
        (InvalidInput, r"data\.document_title", lambda options: notify.notify_document_uploaded(7, "", **options)),
        (InvalidInput, "stage_id: expected an id", lambda options: notify.notify_stage_updated(object(), **options)),
        (InvalidInput, "stage_id", lambda options: notify.notify_stage_updated(True, **options)),
        (InvalidInput, r"data\.stage_id", lambda options: notify.notify_stage_updated(None, **options)),
        (
            TypeError,
            "unknown option audience",
            lambda options: notify.notify_stage_updated(7, audience="everyone", **options),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_can_not_be_is_refused_and_nothing_is_recorded(
    own: Session, settings: Settings, people: Company, error: type[Exception], match: str, call: Any
) -> None:
    with pytest.raises(error, match=match):
        call({"session": own, "settings": settings})
    own.commit()
    assert people.count("notification_events") == 0


def test_rolled_back_with_the_caller_s_transaction(own: Session, settings: Settings, people: Company) -> None:
    notify.notify_stage_updated(7, session=own, settings=settings)
    own.rollback()
    assert people.count("notification_events") == 0
    notify.notify_stage_updated(7, settings=settings)
    assert people.count("notification_events") == 1


def test_the_example_of_the_specification_is_a_status_change(own: Session, settings: Settings) -> None:
    service = producer.NotificationService(own, settings)
    event = service.create_event(
        "stage_update", {"stage_id": 7, "action": "status_changed", "old_status": "en_cours", "new_status": "termine"}
    )
    assert event.texts["fr"]["title"] == "Statut du stage modifié"
    assert own.get(NotificationEvent, event.id) is event
