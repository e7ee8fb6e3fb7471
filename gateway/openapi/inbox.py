"""The doors of one's own notifications, session and ticket."""

from __future__ import annotations

from typing import Any, Literal

from gateway.openapi.door import ADMINS, EVENT_ID, MOMENT, PEOPLE, Answer, Door
from shared.errors import Forbidden, NotFound

FILTERS = {
    "is_read": "true or false",
    "notification_type": "info, success, warning or error",
    "category": "exactly this category",
    "event_type": "exactly this event type",
    "since": "an ISO date or time; a date is its whole day",
    "until": "an ISO date or time, included",
}
PAGES = {
    "cursor": "from a `next` or `previous` address",
    "page": "a page number, instead of a cursor",
    "page_size": "1 to 100; 20 unless given",
    "count": "true: also how many there are in all",
}
ID = {"event_id": "the id of a notification"}


class Action(Answer):
    label: str
    link: str


class Notification(Answer):
    id: int
    event_type: str
    category: str
    title: str
    message: str
    format: Literal["plain", "rich"]
    notification_type: Literal["info", "success", "warning", "error"]
    priority: Literal["low", "normal", "high", "critical"]
    data: dict[str, Any]
    link: str | None
    image: str | None
    actions: list[Action]
    thread_key: str | None
    created_at: str
    is_read: bool
    read_at: str | None
    seen_at: str | None


class Notifications(Answer):
    next: str | None
    previous: str | None
    count: int | None = None
    results: list[Notification]


class Unread(Answer):
    unread_count: int
    version: int


class Read(Unread):
    id: int
    is_read: Literal[True]
    read_at: str


class Updated(Unread):
    updated: int


class Deleted(Unread):
    deleted: int


class Me(Answer):
    id: str
    name: str
    roles: list[str]
    locale: str | None


class Session(Answer):
    user: Me
    csrf_token: str | None
    expires_at: str


class LoggedOut(Answer):
    user: None


class Ticket(Answer):
    ticket: str
    expires_in_seconds: int


class Erased(Answer):
    erased: str
    notifications: int
    events: int


NOTIFICATION = {
    "id": EVENT_ID, "event_type": "stage_update", "category": "STAGE", "title": "Rapport déposé", "message": "Le rapport du stage 123 est là.",
    "format": "plain", "notification_type": "info", "priority": "normal", "data": {"stage_id": 123}, "link": "/stages/123", "image": None,
    "actions": [{"label": "Lire", "link": "/stages/123/report"}], "thread_key": "stage_123", "created_at": MOMENT,
    "is_read": False, "read_at": None, "seen_at": None,
}  # fmt: skip
LIST = {"next": f"/api/notifications/notifications/?cursor={EVENT_ID}", "previous": None, "results": [NOTIFICATION]}
UNREAD = {"unread_count": 2, "version": 741}
ME = {"id": "42", "name": "Ann", "roles": ["rh"], "locale": "fr"}
EXPORT = f'{{"kind": "person", "id": "42", "name": "Ann"}}\n{{"kind": "notification", "id": {EVENT_ID}, "title": "Rapport déposé"}}\n'

DOORS = {
    "notifications.list_notifications": Door(
        who=PEOPLE, answer=Notifications, example=LIST, query={**FILTERS, **PAGES}
    ),
    "notifications.search_notifications": Door(
        who=PEOPLE,
        answer=Notifications,
        example=LIST,
        query={"q": "words that title or message hold; accents and case don't count", **FILTERS, **PAGES},
    ),
    "notifications.unread_count": Door(who=PEOPLE, answer=Unread, example=UNREAD),
    "notifications.show_notification": Door(
        who=PEOPLE, answer=Notification, example=NOTIFICATION, path=ID, errors=(NotFound,)
    ),
    "notifications.mark_read": Door(
        who=PEOPLE,
        answer=Read,
        example={"id": EVENT_ID, "is_read": True, "read_at": MOMENT, **UNREAD},
        path=ID,
        errors=(NotFound,),
    ),
    "notifications.mark_all_read": Door(who=PEOPLE, answer=Updated, example={"updated": 3, **UNREAD}),
    "notifications.delete_notification": Door(
        who=PEOPLE, answer=Deleted, example={"deleted": 1, **UNREAD}, path=ID, errors=(NotFound,)
    ),
    "notifications.clear_all": Door(who=PEOPLE, answer=Deleted, example={"deleted": 12, **UNREAD}),
    "ticket.make_ticket": Door(
        who=PEOPLE, answer=Ticket, status=201, example={"ticket": "cN1…", "expires_in_seconds": 30}
    ),
    "session.log_in": Door(
        who=PEOPLE,
        answer=Session,
        status=201,
        example={"user": ME, "csrf_token": "pQ7…", "expires_at": MOMENT},
        errors=(Forbidden,),
    ),
    "session.show": Door(who=PEOPLE, answer=Session, example={"user": ME, "csrf_token": None, "expires_at": MOMENT}),
    "session.log_out": Door(who=PEOPLE, answer=LoggedOut, example={"user": None}),
    "privacy.export_own": Door(who=PEOPLE, answer=None, mimetype="application/x-ndjson", example=EXPORT),
    "privacy.export_someone": Door(
        who=ADMINS,
        answer=None,
        mimetype="application/x-ndjson",
        example=EXPORT,
        path={"external_id": "the application's id of a person"},
        errors=(NotFound,),
    ),
    "privacy.erase": Door(
        who=ADMINS,
        answer=Erased,
        example={"erased": "erased-5f3a9c01", "notifications": 12, "events": 1},
        path={"external_id": "the application's id of a person"},
        errors=(NotFound,),
    ),
}
