"""The doors of those who run the system: the audit log, and whether it is alive and ready."""

from __future__ import annotations

from typing import Any, Literal

from gateway.openapi.door import ADMINS, ANYONE, EVENT_ID, MOMENT, Answer, Door
from shared.errors import NotFound, Unavailable


class Record(Answer):
    id: int
    at: str
    actor: str
    action: str
    target: str
    details: dict[str, Any]
    address: str | None
    request_id: str | None


class Records(Answer):
    next: str | None
    results: list[Record]


class Delivery(Answer):
    id: int
    event_id: int
    recipient: str | None
    channel: str
    status: str
    reason: str | None
    attempts: int
    error: str | None
    provider_id: str | None
    created_at: str
    next_attempt_at: str | None
    finished_at: str | None


class Deliveries(Answer):
    next: str | None
    results: list[Delivery]


class Alive(Answer):
    status: Literal["ok"]


class Check(Answer):
    ok: bool
    ms: float
    error: str | None


class Ready(Answer):
    status: Literal["ready", "unavailable"]
    checks: dict[str, Check]


RECORD = {
    "id": 7, "at": MOMENT, "actor": "service:billing", "action": "event.create", "target": str(EVENT_ID),
    "details": {"event_type": "stage_update", "audience": {"count": 1, "first": ["stage_123"]}}, "address": "10.0.0.9", "request_id": "5f3a9c01b2d4e6f8",
}  # fmt: skip

DELIVERY = {
    "id": 3, "event_id": EVENT_ID, "recipient": "42", "channel": "email", "status": "pending", "reason": None, "attempts": 0, "error": None,
    "provider_id": None, "created_at": MOMENT, "next_attempt_at": MOMENT, "finished_at": None,
}  # fmt: skip

DOORS = {
    "deliveries.list_deliveries": Door(
        who=ADMINS, answer=Deliveries, example={"next": None, "results": [DELIVERY]},
        query={"status": "exactly this status", "channel": "email or webhook", "event": "the id of an event", "cursor": "from a `next` address",
               "page_size": "1 to 100; 20 unless given"},
    ),
    "deliveries.replay": Door(
        who=ADMINS, answer=Delivery, status=202, example=DELIVERY, path={"delivery_id": "the id of a delivery"}, errors=(NotFound,)
    ),
    "auditing.list_records": Door(
        who=ADMINS, answer=Records, example={"next": None, "results": [RECORD]},
        query={"actor": "user_42, service:billing, cli or nobody", "action": "such as notification.send, template.change or permission.refused",
               "since": "an ISO date or time", "until": "an ISO date or time, included", "cursor": "from a `next` address",
               "page_size": "1 to 100; 20 unless given"},
    ),
    "health.healthz": Door(who=ANYONE, answer=Alive, example={"status": "ok"}),
    "health.readyz": Door(
        who=ANYONE, answer=Ready, example={"status": "ready", "checks": {"database": {"ok": True, "ms": 1.5, "error": None}}}, errors=(Unavailable,)
    ),
}  # fmt: skip
