"""Step ① over HTTP: someone with the role for it records an event. Everything after is the workers'."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, request
from sqlalchemy.orm import Session

from gateway.api.body import Field, json_object
from gateway.auth import (
    current_actor,
    current_authenticator,
    current_person,
    current_service,
    refuse_without,
    requires_role,
)
from gateway.transactions import in_transaction
from shared import audit
from shared.audience import parse_term, role_terms
from shared.doorbell import ring
from shared.errors import InvalidAudience
from shared.events import EventDraft, is_repeated, record_event
from shared.models import EVERYONE, NotificationEvent
from shared.tasks import PROCESS_EVENT

blueprint = Blueprint("sending", __name__, url_prefix="/api/notifications")

IDEMPOTENCY_HEADER = "Idempotency-Key"

TEXT: Field = (str, "a text")
BROADCAST_FIELDS: Mapping[str, Field] = {
    "title": TEXT,
    "message": TEXT,
    "texts": (dict, '{"fr": {"title": …, "message": …}, …}'),
    "notification_type": TEXT,
    "event_type": TEXT,
    "category": TEXT,
    "data": (dict, "a JSON object"),
    "link": TEXT,
    "image": TEXT,
    "actions": (list, 'a list of {"label": …, "link": …}'),
    "thread_key": TEXT,
    "priority": TEXT,
    "format": TEXT,
    "exclude": (list, "a list of group names"),
}
ROLE_FIELDS: Mapping[str, Field] = {
    "target_roles": (list, 'a list of role names such as ["rh"]'),
    "audience": (list, 'a list of terms such as ["role_tuteur & stage_123"]'),
    **BROADCAST_FIELDS,
}


@blueprint.post("/send-role-notification/")
@requires_role(lambda settings: settings.send_roles)
def send_role_notification() -> tuple[dict[str, Any], int]:
    """To the people of some roles, of other terms, or both."""
    body = json_object(ROLE_FIELDS)
    audience = [*role_terms(body.pop("target_roles", [])), *map(parse_term, body.pop("audience", []))]
    if not audience:
        raise InvalidAudience.field("target_roles", [], "at least one role (or a term in audience)")
    if any(set(term.groups) == {EVERYONE} for term in audience):  # a broadcast by another name
        refuse_without(current_authenticator().settings.broadcast_roles, "the term everyone")
    return _send(body, audience, "notification.send")


@blueprint.post("/send-broadcast/")
@requires_role(lambda settings: settings.broadcast_roles)
def send_broadcast() -> tuple[dict[str, Any], int]:
    """To everyone."""
    return _send(json_object(BROADCAST_FIELDS), [EVERYONE], "notification.broadcast")


def _send(body: dict[str, Any], audience: list[Any], action: str) -> tuple[dict[str, Any], int]:
    if "texts" not in body:  # a sender has to say something: the catalogue's words are for the application's events
        body = {"title": "", "message": "", **body}
    return record_draft(EventDraft(**body, audience=audience), action)


def record_draft(draft: EventDraft, action: str) -> tuple[dict[str, Any], int]:
    """Record an event in the name of whoever calls, with its line in the audit log, and ring.

    Raises: RateLimited for a person who sends too fast; a service's events wait in PostgreSQL instead.
    """
    settings, actor = current_authenticator().settings, current_actor()
    service = current_service()
    if service is None:
        sender = current_person()
        current_authenticator().limits.count_send(sender)
        if draft.priority == "critical":
            refuse_without(settings.send_roles, "priority critical")
        draft.source, draft.source_user = f"http:{sender.external_id}", sender.external_id
    else:
        draft.source = actor.name
    draft.idempotency_key = request.headers.get(IDEMPOTENCY_HEADER)

    def work(session: Session) -> tuple[NotificationEvent, bool]:
        event = record_event(session, draft, settings)
        repeated = is_repeated(session, event)
        if not repeated:
            audit.record_send(session, actor, action, event)
        return event, repeated

    event, repeated = in_transaction(settings, work)
    ring(PROCESS_EVENT, settings)  # after the commit; a broker that is away costs the sweep's delay
    return {"event_id": event.id, "status": event.status, "repeated": repeated}, 202
