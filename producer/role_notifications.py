"""`RoleNotificationHelper`: notify a role, a stage or a survey in one call.

The names and parameters are those of the specification. Beside it stand the functions for single
events, `producer.notify`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from sqlalchemy.orm import Session, scoped_session

from producer.audience import group, person_id
from producer.happened import plain_data
from producer.notify import (
    notify_document_uploaded,
    notify_evaluation_completed,
    notify_kpi_alert,
    notify_new_stage_created,
    notify_survey_available,
    notify_testimonial_submitted,
)
from producer.sent import SentEvent
from producer.service import CommonOptions, NotificationService, plain_options
from shared.events import EventDraft
from shared.models import NotificationEvent
from shared.settings import Settings

__all__ = [
    "RoleNotificationHelper",
    "notify_document_uploaded",
    "notify_evaluation_completed",
    "notify_kpi_alert",
    "notify_new_stage_created",
    "notify_survey_available",
    "notify_testimonial_submitted",
]


class HelperOptions(CommonOptions, total=False):
    """What `notify_*` takes as well. event_type: default "system". data: JSON that stands in the frame."""

    event_type: str
    data: Mapping[str, Any]


class RoleNotificationHelper:
    """Notifies by role, stage and survey. Given a session, what it records joins that transaction.

    `notify_*` say what the caller says; `create_*_event` what the catalogue says, unless `texts` are given.
    """

    def __init__(
        self, session: Session | scoped_session[Session] | None = None, settings: Settings | None = None
    ) -> None:
        self._service = NotificationService(session, settings)

    def notify_stagiaires(
        self,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify all stagiaires."""
        return self._service.send_role_notifications(
            ["stagiaire"], title, message, notification_type, source_user=source_user, **options
        )

    def notify_tuteurs(
        self,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify all tuteurs."""
        return self._service.send_role_notifications(
            ["tuteur"], title, message, notification_type, source_user=source_user, **options
        )

    def notify_rh_team(
        self,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify the RH team."""
        return self._service.send_role_notifications(
            ["rh"], title, message, notification_type, source_user=source_user, **options
        )

    def notify_admin_team(
        self,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify the admin team."""
        return self._service.send_role_notifications(
            ["admin"], title, message, notification_type, source_user=source_user, **options
        )

    def notify_management_team(
        self,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify admin and RH; who is both is notified once."""
        return self._service.send_role_notifications(
            ["admin", "rh"], title, message, notification_type, source_user=source_user, **options
        )

    def notify_stage_participants(
        self,
        stage_id: Any,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify the stagiaire and the tuteur of a stage."""
        return self._service.send_stage_notification(
            stage_id, title, message, notification_type, source_user=source_user, **options
        )

    def notify_survey_participants(
        self,
        survey_id: Any,
        title: str,
        message: str,
        notification_type: str = "info",
        source_user: Any = None,
        **options: Unpack[HelperOptions],
    ) -> SentEvent:
        """Notify the participants of a survey."""
        survey = group("survey_" + person_id(survey_id, "survey_id"))
        draft = EventDraft(
            audience=survey,
            title=title,
            message=message,
            notification_type=notification_type,
            **plain_options({**options, "source_user": source_user}),
        )
        return self._service.send(draft)

    def create_stage_event(
        self,
        event_type: str,
        stage_id: Any,
        event_data: Mapping[str, Any] | None = None,
        source_user: Any = None,
        target_roles: Iterable[str] | None = None,
        **options: Unpack[CommonOptions],
    ) -> NotificationEvent:
        """Record what happened to a stage; without `target_roles` the catalogue says whom it concerns."""
        data = {**(event_data or {}), "stage_id": stage_id}
        return self._service.create_event(
            event_type, plain_data(data), target_roles, source_user=source_user, **options
        )

    def create_survey_event(
        self,
        event_type: str,
        survey_id: Any,
        event_data: Mapping[str, Any] | None = None,
        source_user: Any = None,
        target_roles: Iterable[str] | None = None,
        **options: Unpack[CommonOptions],
    ) -> NotificationEvent:
        """Record what happened to a survey; without `target_roles` the catalogue says whom it concerns."""
        data = {**(event_data or {}), "survey_id": survey_id}
        return self._service.create_event(
            event_type, plain_data(data), target_roles, source_user=source_user, **options
        )

    def create_evaluation_event(
        self,
        event_type: str,
        evaluator_id: Any,
        evaluated_id: Any,
        event_data: Mapping[str, Any] | None = None,
        source_user: Any = None,
        **options: Unpack[CommonOptions],
    ) -> NotificationEvent:
        """Record what happened to an evaluation; the catalogue says whom it concerns."""
        data = {**(event_data or {}), "evaluator_id": evaluator_id, "evaluated_id": evaluated_id}
        return self._service.create_event(event_type, plain_data(data), source_user=source_user, **options)
