"""`from notification_service.services import NotificationService, notification_service`."""

from producer.integrations.django import notification_service
from producer.service import NotificationService

__all__ = ["NotificationService", "notification_service"]
