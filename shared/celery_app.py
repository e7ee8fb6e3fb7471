"""The Celery app, for those who only send (producers, gateways) and for the workers alike."""

from __future__ import annotations

from celery import Celery

from shared.settings import Settings


def make_celery(settings: Settings) -> Celery:
    """An app with the settings of `celeryconfig.py` and the broker in effect. Connects at first use."""
    app = Celery("stagebloom", set_as_current=False)
    app.config_from_object("celeryconfig")
    app.conf.broker_url = settings.broker
    if not settings.broker.startswith(("redis://", "rediss://")):
        app.conf.broker_transport_options = {"confirm_publish": True}  # RabbitMQ: know that it has it
        app.conf.task_default_queue_type = "quorum"
    return app
