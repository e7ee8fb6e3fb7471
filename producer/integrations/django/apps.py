"""At Django's start: its settings become ours, and our lines go through its logging."""

from __future__ import annotations

import os

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import register

from producer.integrations.django.checks import check_package
from producer.integrations.django.settings import environment
from shared.logs import log_through_logging
from shared.settings import get_settings


class NotificationServiceConfig(AppConfig):
    """The Django application, as `notification_service` or `producer.integrations.django`."""

    name = "producer.integrations.django"
    label = "notification_service"
    verbose_name = "Notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Raises: SettingsError naming everything that is wrong, before the first request."""
        for name, value in environment(settings).items():
            os.environ[name] = os.environ.get(name) or value
        get_settings.cache_clear()
        get_settings()
        log_through_logging()
        register(check_package)
