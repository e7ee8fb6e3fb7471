"""A function for everything that happens in StageBloom: `notify_stage_completed(stage_id=123)`.

Each names a row of the catalogue, which says whom it concerns, of which type it is and in which words;
`docs/producers.md` shows them all. People, stages and surveys are given as ids or as objects with an
id. All return at once with a `SentEvent`; given `session=`, the event joins the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from sqlalchemy.orm import Session, scoped_session

from producer.happened import happened
from producer.sent import SentEvent
from producer.service import CommonOptions, NotificationService
from shared.settings import Settings


class NotifyOptions(CommonOptions, total=False):
    """What every function takes as well.

    data: more that stands in the frame. session: the caller's, whose transaction the event joins.
    """

    data: Mapping[str, Any]
    session: Session | scoped_session[Session] | None
    settings: Settings | None


def _notify(
    event_type: str, action: str, data: Mapping[str, Any], source_user: Any, options: NotifyOptions
) -> SentEvent:
    service = NotificationService(options.pop("session", None), options.pop("settings", None))
    more = options.pop("data", {})
    common: CommonOptions = options
    return service.send(happened(event_type, action, {**more, **data}, source_user=source_user, **common))


# Stages


def notify_new_stage_created(stage_id: Any, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """A stage was created."""
    return _notify("stage_update", "created", {"stage_id": stage_id}, source_user, options)


def notify_stage_updated(stage_id: Any, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """A stage was changed."""
    return _notify("stage_update", "updated", {"stage_id": stage_id}, source_user, options)


def notify_stage_completed(stage_id: Any, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """A stage came to its end."""
    return _notify("stage_update", "completed", {"stage_id": stage_id}, source_user, options)


def notify_stage_status_changed(
    stage_id: Any,
    new_status: str,
    old_status: str | None = None,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """A stage has another status."""
    return _notify(
        "stage_update",
        "status_changed",
        {"stage_id": stage_id, "old_status": old_status, "new_status": new_status},
        source_user,
        options,
    )


def notify_student_progress(
    stage_id: Any, progress: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A stagiaire got on."""
    return _notify("stage_update", "progress", {"stage_id": stage_id, "progress": progress}, source_user, options)


# Documents


def notify_document_uploaded(
    stage_id: Any, document_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A document was put in."""
    return _notify(
        "document_upload", "uploaded", {"stage_id": stage_id, "document_title": document_title}, source_user, options
    )


def notify_document_approved(
    stage_id: Any, document_title: str, owner_id: Any = None, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A document was approved. Without an owner it is that of the stage's stagiaire."""
    return _notify(
        "document_upload",
        "approved",
        {"stage_id": stage_id, "document_title": document_title, "owner_id": owner_id},
        source_user,
        options,
    )


def notify_document_rejected(
    stage_id: Any, document_title: str, owner_id: Any = None, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A document was rejected. Without an owner it is that of the stage's stagiaire."""
    return _notify(
        "document_upload",
        "rejected",
        {"stage_id": stage_id, "document_title": document_title, "owner_id": owner_id},
        source_user,
        options,
    )


def notify_document_modified(
    stage_id: Any, document_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A document was changed."""
    return _notify(
        "document_upload", "modified", {"stage_id": stage_id, "document_title": document_title}, source_user, options
    )


def notify_pfe_report_submitted(
    stage_id: Any, document_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """The report of a final-year project was handed in."""
    return _notify(
        "document_upload",
        "pfe_report_submitted",
        {"stage_id": stage_id, "document_title": document_title},
        source_user,
        options,
    )


# Surveys


def notify_survey_available(
    survey_id: Any, survey_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """There is a new survey."""
    return _notify("survey", "new", {"survey_id": survey_id, "survey_title": survey_title}, source_user, options)


def notify_survey_completed(
    survey_id: Any, survey_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A survey was answered."""
    return _notify("survey", "completed", {"survey_id": survey_id, "survey_title": survey_title}, source_user, options)


def notify_survey_reminder(
    survey_id: Any, survey_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A survey still waits for answers; leave out who has answered with `exclude=[user(42)]`."""
    return _notify("survey", "reminder", {"survey_id": survey_id, "survey_title": survey_title}, source_user, options)


# Evaluations


def notify_evaluation_completed(
    stage_id: Any,
    evaluator_id: Any,
    evaluated_id: Any,
    evaluation_type: str,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """An evaluation is done."""
    return _evaluation("completed", stage_id, (evaluator_id, evaluated_id), evaluation_type, source_user, options)


def notify_evaluation_results(
    stage_id: Any,
    evaluator_id: Any,
    evaluated_id: Any,
    evaluation_type: str,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """The results of an evaluation are there."""
    return _evaluation("results", stage_id, (evaluator_id, evaluated_id), evaluation_type, source_user, options)


def notify_evaluation_feedback(
    stage_id: Any,
    evaluator_id: Any,
    evaluated_id: Any,
    evaluation_type: str,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """Somebody commented on an evaluation."""
    return _evaluation("feedback", stage_id, (evaluator_id, evaluated_id), evaluation_type, source_user, options)


def notify_evaluation_requested(
    stage_id: Any,
    evaluator_id: Any,
    evaluated_id: Any,
    evaluation_type: str,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """An evaluation is to be done."""
    return _evaluation("requested", stage_id, (evaluator_id, evaluated_id), evaluation_type, source_user, options)


def _evaluation(
    action: str, stage_id: Any, people: tuple[Any, Any], evaluation_type: str, source_user: Any, options: NotifyOptions
) -> SentEvent:
    data = {
        "stage_id": stage_id,
        "evaluator_id": people[0],
        "evaluated_id": people[1],
        "evaluation_type": evaluation_type,
    }
    return _notify("evaluation", action, data, source_user, options)


# Indicators


def notify_kpi_alert(
    stage_id: Any,
    alert_message: str,
    alert_level: str = "warning",
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """An indicator needs attention; `alert_level` is "info", "success", "warning" or "error"."""
    return _notify(
        "kpi_alert",
        "alert",
        {"stage_id": stage_id, "alert_message": alert_message, "alert_level": alert_level},
        source_user,
        options,
    )


def notify_kpi_threshold_breached(
    stage_id: Any,
    kpi: str,
    value: float | str,
    threshold: float | str,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """An indicator went beyond its threshold."""
    return _notify(
        "kpi_alert",
        "threshold_breached",
        {"stage_id": stage_id, "kpi": kpi, "value": value, "threshold": threshold},
        source_user,
        options,
    )


def notify_performance_updated(
    stage_id: Any, kpi: str, value: float | str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """An indicator has a new value."""
    return _notify(
        "kpi_alert", "performance_updated", {"stage_id": stage_id, "kpi": kpi, "value": value}, source_user, options
    )


def notify_kpi_report(report_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """A report on indicators is there."""
    return _notify("kpi_alert", "report", {"report_title": report_title}, source_user, options)


# Testimonials


def notify_testimonial_submitted(
    stage_id: Any, testimonial_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A testimonial was handed in."""
    return _notify(
        "testimonial", "submitted", {"stage_id": stage_id, "testimonial_title": testimonial_title}, source_user, options
    )


def notify_testimonial_approved(
    stage_id: Any, testimonial_title: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """A testimonial was approved."""
    return _notify(
        "testimonial", "approved", {"stage_id": stage_id, "testimonial_title": testimonial_title}, source_user, options
    )


def notify_testimonial_requested(stage_id: Any, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """A stagiaire is asked for a testimonial."""
    return _notify("testimonial", "requested", {"stage_id": stage_id}, source_user, options)


# Applications and offers

DECISIONS = {None: "decided", True: "accepted", False: "refused"}


def notify_demande_created(
    demande_id: Any,
    entreprise_id: Any = None,
    candidate_id: Any = None,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """Somebody applied. With a company, only its rh learn of it."""
    data = {"demande_id": demande_id, "entreprise_id": entreprise_id, "candidate_id": candidate_id}
    return _notify("demande", "created", data, source_user, options)


def notify_demande_decided(
    demande_id: Any,
    accepted: bool | None = None,
    entreprise_id: Any = None,
    candidate_id: Any = None,
    source_user: Any = None,
    **options: Unpack[NotifyOptions],
) -> SentEvent:
    """An application was accepted or refused; None says only that it was decided."""
    data = {"demande_id": demande_id, "entreprise_id": entreprise_id, "candidate_id": candidate_id}
    return _notify("demande", DECISIONS[accepted], data, source_user, options)


def notify_offer_published(
    offer_title: str, offer_id: Any = None, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """There is a new offer of a stage."""
    return _notify(
        "demande", "offer_published", {"offer_title": offer_title, "offer_id": offer_id}, source_user, options
    )


# People and the system itself


def notify_person_created(
    user_id: Any, user_name: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """Somebody has an account now."""
    return _notify("user_action", "person_created", {"user_id": user_id, "user_name": user_name}, source_user, options)


def notify_roles_changed(
    user_id: Any, user_name: str, roles: Iterable[str], source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """Somebody has these roles now."""
    return _notify(
        "user_action",
        "roles_changed",
        {"user_id": user_id, "user_name": user_name, "roles": ", ".join(roles)},
        source_user,
        options,
    )


def notify_person_deactivated(
    user_id: Any, user_name: str, source_user: Any = None, **options: Unpack[NotifyOptions]
) -> SentEvent:
    """Somebody's account was closed."""
    return _notify(
        "user_action", "person_deactivated", {"user_id": user_id, "user_name": user_name}, source_user, options
    )


def notify_maintenance(details: str, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """Maintenance is planned."""
    return _notify("system", "maintenance", {"details": details}, source_user, options)


def notify_critical_error(details: str, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """Something essential failed; of priority "critical" unless another is given."""
    options.setdefault("priority", "critical")
    return _notify("system", "critical_error", {"details": details}, source_user, options)


def notify_system_statistics(details: str, source_user: Any = None, **options: Unpack[NotifyOptions]) -> SentEvent:
    """Figures about the system."""
    return _notify("system", "statistics", {"details": details}, source_user, options)
