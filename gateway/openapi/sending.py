"""The doors through which events come in, and where their senders look after them."""

from __future__ import annotations

from typing import Any, Literal

from gateway.api.events import EVENT_FIELDS
from gateway.api.sending import BROADCAST_FIELDS, IDEMPOTENCY_HEADER, ROLE_FIELDS
from gateway.openapi.door import ADMINS, EVENT_ID, EVENT_SERVICES, MOMENT, SENDERS, Answer, Door
from shared.errors import Conflict, InvalidAudience, NotFound, TooLarge, UnknownGroup

KEY = {IDEMPOTENCY_HEADER: "the same key is the same event, however often it is sent"}
REFUSALS = (InvalidAudience, UnknownGroup, TooLarge, Conflict)


class Sent(Answer):
    event_id: int
    status: Literal["pending", "planned", "processed", "failed"]
    repeated: bool


class Event(Answer):
    id: int
    event_type: str
    category: str
    notification_type: str
    priority: str
    source: str
    audience: list[str]
    exclude: list[str]
    status: Literal["pending", "planned", "processed", "failed"]
    recipient_count: int | None
    attempts: int
    error: str | None
    created_at: str
    planned_at: str | None
    processed_at: str | None


class Batches(Answer):
    total: int
    stored: int
    published: int


class OneEvent(Event):
    batches: Batches


class Events(Answer):
    next: str | None
    results: list[Event]


SENT: dict[str, Any] = {"event_id": EVENT_ID, "status": "pending", "repeated": False}
EVENT: dict[str, Any] = {
    "id": EVENT_ID, "event_type": "stage_update", "category": "STAGE", "notification_type": "info", "priority": "normal",
    "source": "service:billing", "audience": ["stage_123"], "exclude": [], "status": "processed", "recipient_count": 2, "attempts": 0,
    "error": None, "created_at": MOMENT, "planned_at": MOMENT, "processed_at": MOMENT,
}  # fmt: skip

DOORS = {
    "sending.send_role_notification": Door(
        who=SENDERS, answer=Sent, status=202, example=SENT, body=ROLE_FIELDS, headers=KEY, errors=REFUSALS,
        body_example={"target_roles": ["rh"], "title": "Rapport", "message": "Le rapport est disponible", "notification_type": "success"},
    ),
    "sending.send_broadcast": Door(
        who=ADMINS, answer=Sent, status=202, example=SENT, body=BROADCAST_FIELDS, headers=KEY, errors=REFUSALS,
        body_example={"title": "Maintenance", "message": "Ce soir à 22 h", "notification_type": "warning"},
    ),
    "events.create_event": Door(
        who=EVENT_SERVICES, answer=Sent, status=202, example=SENT, body=EVENT_FIELDS, required=("event_type",), headers=KEY, errors=REFUSALS,
        body_example={"event_type": "system", "target_roles": ["rh"], "data": {"build": 7}, "title": "Version 7", "message": "La version 7 est en ligne"},
    ),
    "events.show_events": Door(
        who=ADMINS, answer=Events, example={"next": None, "results": [EVENT]},
        query={"status": "pending, planned, processed or failed", "event_type": "exactly this event type",
               "cursor": "from a `next` address", "page_size": "1 to 100; 20 unless given"},
    ),
    "events.show_event": Door(
        who=EVENT_SERVICES, answer=OneEvent, example={**EVENT, "batches": {"total": 1, "stored": 1, "published": 1}},
        path={"event_id": "the event_id of an answer"}, errors=(NotFound,),
    ),
}  # fmt: skip
