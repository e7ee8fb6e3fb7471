"""`python manage.py notification_environment`: what Django's settings say, for workers and gateways."""

from __future__ import annotations

import shlex
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from producer.integrations.django.settings import environment


class Command(BaseCommand):
    """Prints lines that a shell reads: `set -a; eval "$(python manage.py notification_environment)"`."""

    help = "Print NOTIFICATION_SETTINGS and CHANNEL_LAYERS as environment variables."

    def handle(self, *args: Any, **options: Any) -> None:
        """One variable a line, quoted."""
        for name, value in environment(settings).items():
            self.stdout.write(f"{name}={shlex.quote(value)}")
