"""`"notification_service"` in INSTALLED_APPS is the adapter."""

from producer.integrations.django.apps import NotificationServiceConfig

__all__ = ["NotificationServiceConfig"]
