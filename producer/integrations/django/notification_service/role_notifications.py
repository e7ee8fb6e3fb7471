"""`from notification_service.role_notifications import RoleNotificationHelper`, and the functions beside it."""

from producer.role_notifications import (
    RoleNotificationHelper,
    notify_document_uploaded,
    notify_evaluation_completed,
    notify_kpi_alert,
    notify_new_stage_created,
    notify_survey_available,
    notify_testimonial_submitted,
)

__all__ = [
    "RoleNotificationHelper",
    "notify_document_uploaded",
    "notify_evaluation_completed",
    "notify_kpi_alert",
    "notify_new_stage_created",
    "notify_survey_available",
    "notify_testimonial_submitted",
]
