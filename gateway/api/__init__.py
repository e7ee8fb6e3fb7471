"""The REST doors: thin, a file per resource. They check the request, call a function, answer in JSON."""

from __future__ import annotations

from flask import Flask

from gateway.api import (
    auditing,
    deliveries,
    events,
    notifications,
    people,
    privacy,
    sending,
    session,
    statistics,
    templates,
    ticket,
)


def register(app: Flask) -> None:
    """Hang all REST doors into the app."""
    for resource in (
        auditing,
        deliveries,
        events,
        notifications,
        people,
        privacy,
        sending,
        session,
        statistics,
        templates,
        ticket,
    ):
        app.register_blueprint(resource.blueprint)
