"""What other services call: say what happened, and who is who.

    from producer import NotificationService, notify_stage_completed

    notify_stage_completed(stage_id=123)
    NotificationService().send_role_notifications(["rh"], "Rapport", "Le rapport est disponible")

Every call is checked whole before anything is written. Given the caller's SQLAlchemy session, an event
is part of their transaction: rolled back, it never was.
"""

from producer.audience import everyone, group, role, user
from producer.directory import Directory, Person
from producer.happened import happened
from producer.notify import (
    notify_critical_error,
    notify_demande_created,
    notify_demande_decided,
    notify_document_approved,
    notify_document_modified,
    notify_document_rejected,
    notify_document_uploaded,
    notify_evaluation_completed,
    notify_evaluation_feedback,
    notify_evaluation_requested,
    notify_evaluation_results,
    notify_kpi_alert,
    notify_kpi_report,
    notify_kpi_threshold_breached,
    notify_maintenance,
    notify_new_stage_created,
    notify_offer_published,
    notify_performance_updated,
    notify_person_created,
    notify_person_deactivated,
    notify_pfe_report_submitted,
    notify_roles_changed,
    notify_stage_completed,
    notify_stage_status_changed,
    notify_stage_updated,
    notify_student_progress,
    notify_survey_available,
    notify_survey_completed,
    notify_survey_reminder,
    notify_system_statistics,
    notify_testimonial_approved,
    notify_testimonial_requested,
    notify_testimonial_submitted,
)
from producer.role_notifications import RoleNotificationHelper
from producer.sent import SentEvent, SentNotification
from producer.service import NotificationService
from shared.audience import Audience, Term

__all__ = [
    "Audience",
    "Directory",
    "NotificationService",
    "Person",
    "RoleNotificationHelper",
    "SentEvent",
    "SentNotification",
    "Term",
    "everyone",
    "group",
    "happened",
    "notify_critical_error",
    "notify_demande_created",
    "notify_demande_decided",
    "notify_document_approved",
    "notify_document_modified",
    "notify_document_rejected",
    "notify_document_uploaded",
    "notify_evaluation_completed",
    "notify_evaluation_feedback",
    "notify_evaluation_requested",
    "notify_evaluation_results",
    "notify_kpi_alert",
    "notify_kpi_report",
    "notify_kpi_threshold_breached",
    "notify_maintenance",
    "notify_new_stage_created",
    "notify_offer_published",
    "notify_performance_updated",
    "notify_person_created",
    "notify_person_deactivated",
    "notify_pfe_report_submitted",
    "notify_roles_changed",
    "notify_stage_completed",
    "notify_stage_status_changed",
    "notify_stage_updated",
    "notify_student_progress",
    "notify_survey_available",
    "notify_survey_completed",
    "notify_survey_reminder",
    "notify_system_statistics",
    "notify_testimonial_approved",
    "notify_testimonial_requested",
    "notify_testimonial_submitted",
    "role",
    "user",
]
