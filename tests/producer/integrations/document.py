"""The Python that the document shows for Django, as it is written there."""

from __future__ import annotations

from typing import Any

# The people are given.
USAGE = """
from notification_service.role_notifications import RoleNotificationHelper

helper = RoleNotificationHelper()
notifications = helper.notify_stagiaires(
    title="Nouvelle offre de stage",
    message="Une nouvelle offre de stage est disponible",
    notification_type='info'
)

helper = RoleNotificationHelper()
notifications = helper.notify_management_team(
    title="Rapport mensuel",
    message="Le rapport mensuel des stages est disponible",
    notification_type='info'
)

helper = RoleNotificationHelper()
notifications = helper.notify_stage_participants(
    stage_id=123,
    title="Document approuvé",
    message="Votre document a été approuvé",
    notification_type='success'
)

event = helper.create_stage_event(
    event_type='stage_update',
    stage_id=123,
    event_data={
        'action': 'status_changed',
        'old_status': 'en_cours',
        'new_status': 'termine'
    }
)

from notification_service.role_notifications import (
    notify_new_stage_created, notify_document_uploaded, notify_survey_available,
    notify_kpi_alert, notify_testimonial_submitted, notify_evaluation_completed,
)

# Notify about new stage creation
notify_new_stage_created(stage_id=123, source_user=admin_user)

# Notify about document upload
notify_document_uploaded(stage_id=123, document_title="Rapport PFE", source_user=stagiaire_user)

# Notify about survey availability
notify_survey_available(survey_id=456, survey_title="Satisfaction Stage", source_user=rh_user)

# Notify about KPI alerts
notify_kpi_alert(stage_id=123, alert_message="KPI en dessous du seuil", alert_level='warning')

# Notify about testimonial submission
notify_testimonial_submitted(stage_id=123, testimonial_title="Témoignage Stage", source_user=stagiaire_user)

# Notify about evaluation completion
notify_evaluation_completed(stage_id=123, evaluator_id=789, evaluated_id=456, evaluation_type='mid_stage')

from notification_service.services import NotificationService, notification_service

# 1. Create event
event = notification_service.create_event(
    event_type='stage_update',
    event_data={'stage_id': 123, 'status': 'en_cours'},
    target_roles=['stagiaire', 'tuteur']
)

# 2. Process event
notifications = notification_service.process_event(event)
"""
IMPORTS = "from notification_service.models import Notification, NotificationEvent, WebSocketConnection"
DEBUG_COMMANDS = """
# Check user roles
User.objects.filter(is_active=True).values('id', 'username', 'role')

# Check notifications by role
Notification.objects.filter(recipient__role='stagiaire').count()

# Check WebSocket connections
WebSocketConnection.objects.filter(is_active=True).count()

# Check notification events
NotificationEvent.objects.filter(processed=False).count()
"""
DEBUG_LOGGING = """
# Enable debug logging
import logging
logging.getLogger('notification_service').setLevel(logging.DEBUG)
"""


def answers(code: str, names: dict[str, Any]) -> list[Any]:
    """What each line of code gives that is no comment."""
    return [eval(line, names) for line in code.splitlines() if line and not line.startswith("#")]
