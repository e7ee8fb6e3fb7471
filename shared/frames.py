"""The frames of the WebSocket, and the JSON of a notification, which REST shows alike.

A frame is the same bytes for everyone of the same kind and locale: it is encoded once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from shared.rich import RICH, plain_text

NOTIFICATION = "notification"
ROLE_NOTIFICATION = "role_notification"
SYSTEM_MESSAGE = "system_message"
KINDS = (NOTIFICATION, ROLE_NOTIFICATION, SYSTEM_MESSAGE)


class EventLike(Protocol):
    """What a notification shows of its event: a `NotificationEvent`, or a row with these columns."""

    id: Any
    event_type: Any
    category: Any
    notification_type: Any
    texts: Any
    data: Any
    link: Any
    image: Any
    actions: Any
    thread_key: Any
    format: Any
    priority: Any
    created_at: Any


def choose_locale(texts: Mapping[str, Any], wanted: str | None, default: str) -> str:
    """The locale of `texts` for someone who wants `wanted`: it, its language, the default, the first."""
    for candidate in (wanted, (wanted or "").split("-")[0], default):
        if candidate and candidate in texts:
            return candidate
    return min(texts)


def notification_json(
    event: EventLike, locale: str, *, seen_at: datetime | None = None, read_at: datetime | None = None
) -> dict[str, Any]:
    """One notification as browsers see it. `locale` must be one of the event's own."""
    words = event.texts[locale]
    return {
        "id": event.id,
        "event_type": event.event_type,
        "category": event.category,
        "title": words["title"],
        "message": words["message"],
        "format": event.format,
        "notification_type": event.notification_type,
        "priority": event.priority,
        "data": event.data,
        "link": event.link,
        "image": event.image,
        "actions": event.actions,
        "thread_key": event.thread_key,
        "created_at": _utc(event.created_at),
        "is_read": read_at is not None,
        "read_at": _utc(read_at),
        "seen_at": _utc(seen_at),
    }


def notification_frame(kind: str, notification: Mapping[str, Any]) -> bytes:
    """A `notification`, `role_notification` or `system_message` frame."""
    if kind == SYSTEM_MESSAGE:
        message = notification["message"]
        text = plain_text(message) if notification["format"] == RICH else message
        return encode({"type": kind, "message": text, "notification": notification})
    return encode({"type": kind, "notification": notification})


def encode(frame: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON without spaces."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()


def _utc(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
