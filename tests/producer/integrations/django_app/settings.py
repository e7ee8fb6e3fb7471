"""The settings of the application; those of the notifications are the specification's."""

from pathlib import Path

from shared.settings import get_settings

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.producer.integrations.django_app.urls"
INSTALLED_APPS = ["tests.producer.integrations.django_app", "producer.integrations.django"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(get_settings().data_dir) / "application.sqlite3",
        "ATOMIC_REQUESTS": True,
    }
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
