"""The settings of the application; those of the notifications are the specification's."""

from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from shared.settings import get_settings


def database(address: URL) -> dict[str, Any]:
    """An address as Django takes it."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address.database,
        "HOST": address.query.get("host", address.host),
        "PORT": address.port or "",
        "USER": address.username,
        "PASSWORD": address.password or "",
    }


SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.producer.integrations.django_app.urls"
INSTALLED_APPS = ["tests.producer.integrations.django_app", "notification_service"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(get_settings().data_dir) / "application.sqlite3",
        "ATOMIC_REQUESTS": True,
    },
    "postgresql": database(make_url(get_settings().database).set(database="application")),
}

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [get_settings().redis]},
    },
}

NOTIFICATION_SETTINGS = {
    "QUEUE_SIZE": 1000,
    "RETENTION_DAYS": 30,
    "BATCH_SIZE": 100,
    "WEBHOOK_URL": None,  # For external integrations
    "EMAIL_FALLBACK": True,  # Send email if WebSocket fails
}
