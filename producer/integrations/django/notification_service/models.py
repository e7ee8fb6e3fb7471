"""`notification_service.models`: what the earlier system's debug commands ask, answered from our database.

    Notification.objects.filter(recipient__role="stagiaire").count()

No Django models: rows are made by events, never here. People are named by the application's own ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select

from producer.integrations.django.rows import Field, Rows
from shared import models
from shared.models import ROLE
from shared.settings import get_settings

people, events, notifications = models.User, models.NotificationEvent, models.Notification
connections, templates, memberships = models.WebSocketConnection, models.NotificationTemplate, models.Membership


def _in_role(user_id: Any) -> Field:
    """The first role of someone by name, as `SentEvent` shows it; compared with all of theirs."""
    role = (
        select(func.min(func.substr(memberships.group_name, len(ROLE) + 1)))
        .where(memberships.user_id == user_id, memberships.group_name.startswith(ROLE, autoescape=True))
        .scalar_subquery()
    )

    def is_one_of(roles: Sequence[str]) -> Any:
        groups = [f"{ROLE}{name}" for name in roles]
        return user_id.in_(select(memberships.user_id).where(memberships.group_name.in_(groups)))

    return Field(str, role, is_one_of)


def _text(name: str) -> Any:
    """A title or message in the default language, or in another that the event has."""
    language: Any = bindparam(None, callable_=lambda: get_settings().default_locale)
    words = func.jsonb_each(events.texts).table_valued("key", "value")
    chosen = select(words.c.value.op("->>")(name)).order_by(words.c.key != language, words.c.key).limit(1)
    return chosen.scalar_subquery()


class User:
    """The people that notifications can reach; the application's own users stay where they are."""

    objects = Rows(
        "people",
        people.__table__,
        {
            "id": Field(str, people.external_id),
            "username": Field(str, people.name),
            "email": Field(str, people.email),
            "role": _in_role(people.id),
            "is_active": Field(bool, people.is_active),
        },
        [people.id.desc()],
    )


class Notification:
    """What stands in someone's inbox. Its id is that of its event."""

    objects = Rows(
        "notifications",
        notifications.__table__.join(events, events.id == notifications.event_id).join(
            people, people.id == notifications.recipient_id
        ),
        {
            "id": Field(int, notifications.event_id),
            "recipient": Field(str, people.external_id),
            "recipient__role": _in_role(notifications.recipient_id),
            "recipient__is_active": Field(bool, people.is_active),
            "title": Field(str, _text("title")),
            "message": Field(str, _text("message")),
            "notification_type": Field(str, events.notification_type),
            "event_type": Field(str, events.event_type),
            "is_read": Field(bool, notifications.read_at.is_not(None)),
            "created_at": Field(datetime, events.created_at),
        },
        [notifications.event_id.desc(), notifications.recipient_id],
        (notifications.deleted_at.is_(None),),
    )


class NotificationEvent:
    """What happened, and what became of it."""

    objects = Rows(
        "events",
        events.__table__,
        {
            "id": Field(int, events.id),
            "event_type": Field(str, events.event_type),
            "event_data": Field(dict, events.data),
            "category": Field(str, events.category),
            "notification_type": Field(str, events.notification_type),
            "status": Field(str, events.status),
            "processed": Field(bool, events.status == "processed"),
            "error": Field(str, events.error),
            "created_at": Field(datetime, events.created_at),
            "processed_at": Field(datetime, events.processed_at),
        },
        [events.id.desc()],
    )


class WebSocketConnection:
    """Who is connected to the gateways."""

    objects = Rows(
        "connections",
        connections.__table__.join(people, people.id == connections.user_id),
        {
            "user": Field(str, people.external_id),
            "user__role": _in_role(connections.user_id),
            "is_active": Field(bool, connections.is_active),
            "connected_at": Field(datetime, connections.connected_at),
        },
        [connections.connected_at.desc()],
    )


class NotificationTemplate:
    """The application's own words, in versions."""

    objects = Rows(
        "templates",
        templates.__table__,
        {
            "name": Field(str, templates.name),
            "locale": Field(str, templates.locale),
            "version": Field(int, templates.version),
            "title": Field(str, templates.title),
            "message": Field(str, templates.message),
            "is_active": Field(bool, templates.is_active),
        },
        [templates.id.desc()],
    )
