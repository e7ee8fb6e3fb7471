"""Everything about a person as JSON Lines, one fact a line.

Read in pieces: nobody's database session waits for a slow reader. The last line says how many facts
there were, so an export that was cut off shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.audience import NAME
from shared.frames import choose_locale, notification_json
from shared.models import USER
from shared.privacy import ROWS_AT_ONCE, Transact, unknown

PERSON = text("""
    SELECT id AS user_id, external_id AS id, name, email, phone, locale, timezone, is_active, created_at FROM users WHERE external_id = :external_id
""")
GROUPS = text('SELECT group_name AS "group" FROM memberships WHERE user_id = :user_id ORDER BY 1')
CONNECTIONS = text("SELECT connected_at FROM websocket_connections WHERE user_id = :user_id ORDER BY 1")
TEMPLATES = text(
    "SELECT name, locale, version, created_at FROM notification_templates WHERE created_by = :user_id ORDER BY id"
)
NOTIFICATIONS = text("""
    SELECT event.*, notification.event_id AS position, delivered_at, seen_at, read_at, notification.archived_at, deleted_at
    FROM notifications notification JOIN notification_events event ON event.id = notification.event_id
    WHERE recipient_id = :user_id AND notification.event_id > :after ORDER BY notification.event_id LIMIT :limit
""")
CAUSED = text("""
    SELECT id AS position, id, event_type, category, notification_type, texts, data, link, audience, exclude, source, status, created_at
    FROM notification_events WHERE source_user_id = :user_id AND id > :after ORDER BY id LIMIT :limit
""")
DELIVERIES = text("""
    SELECT id AS position, event_id, channel, status, reason, attempts, created_at, finished_at
    FROM deliveries WHERE recipient_id = :user_id AND id > :after ORDER BY id LIMIT :limit
""")
ACTS = text("""
    SELECT id AS position, at, action, target, details, address FROM audit_log WHERE actor = :actor AND id > :after ORDER BY id LIMIT :limit
""")


def export_person(transact: Transact, external_id: str, default_locale: str) -> Iterator[str]:
    """Everything about a person as lines of JSON, each {"kind": …}, the last {"kind": "end"} with the counts.

    Raises: NotFound, before the first line.
    """
    found = transact(_rows(PERSON, {"external_id": external_id})) if NAME.fullmatch(USER + external_id) else []
    if not found:
        raise unknown(external_id)
    return _export(transact, dict(found[0]), default_locale)


def _export(transact: Transact, person: dict[str, Any], default_locale: str) -> Iterator[str]:
    values = {"user_id": person.pop("user_id"), "actor": USER + person["id"]}

    def notification(row: Mapping[str, Any]) -> dict[str, Any]:
        found = notification_json(
            SimpleNamespace(**row),
            choose_locale(row["texts"], person["locale"], default_locale),
            seen_at=row["seen_at"],
            read_at=row["read_at"],
        )
        return {
            **found,
            "texts": row["texts"],
            **{name: row[name] for name in ("delivered_at", "archived_at", "deleted_at")},
        }

    counts: dict[str, int] = {}
    yield _line("person", person)
    for kind, statement in (("group", GROUPS), ("connection", CONNECTIONS), ("template", TEMPLATES)):
        rows = transact(_rows(statement, values))
        counts[kind] = len(rows)
        yield from (_line(kind, dict(row)) for row in rows)
    for kind, statement, shape in (
        ("notification", NOTIFICATIONS, notification),
        ("event", CAUSED, dict),
        ("delivery", DELIVERIES, dict),
        ("act", ACTS, dict),
    ):
        counts[kind] = 0
        for rows in _pieces(transact, statement, values):
            counts[kind] += len(rows)
            yield from (_line(kind, shape(row)) for row in rows)
    yield _line("end", {"counts": counts})


def _pieces(transact: Transact, statement: Any, values: Mapping[str, Any]) -> Iterator[list[Any]]:
    after = 0
    while True:
        rows = transact(_rows(statement, {**values, "after": after, "limit": ROWS_AT_ONCE}))
        if rows:
            yield rows
        if len(rows) < ROWS_AT_ONCE:
            return
        after = rows[-1]["position"]


def _rows(statement: Any, values: Mapping[str, Any]) -> Callable[[Session], list[Any]]:
    return lambda session: list(session.execute(statement, values).mappings())


def _line(kind: str, fact: dict[str, Any]) -> str:
    fact.pop("position", None)
    return json.dumps({"kind": kind, **fact}, ensure_ascii=False, default=_as_text) + "\n"


def _as_text(value: Any) -> str:
    return str(value.isoformat()).replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)
