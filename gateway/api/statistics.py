"""Statistics of one's own inbox and, for administrators, of the whole system; who is connected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, request
from sqlalchemy.orm import Session

from gateway import inbox
from gateway.auth import current_authenticator, current_person, requires_person, requires_role
from gateway.filters import only_known
from gateway.statistics import own_statistics
from gateway.transactions import in_transaction
from shared import statistics
from shared.errors import InvalidInput
from shared.queues import queue_depths

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")

blueprint = Blueprint("statistics", __name__, url_prefix="/api/notifications")


@blueprint.get("/notifications/statistics/")
@requires_person
def own() -> dict[str, Any]:
    """What is in one's inbox: total, unread and read rate, by type, category and day."""
    only_known(request.args.to_dict(flat=False), ())
    settings, user_id = current_authenticator().settings, current_person().id
    oldest = inbox.oldest_shown(settings)
    return in_transaction(settings, lambda session: own_statistics(session, user_id, oldest))


@blueprint.get("/system-stats/")
@requires_role(lambda settings: settings.broadcast_roles)
def system() -> dict[str, Any]:
    """What the system did in the last days, what waits, how long it takes, and who is connected."""
    settings = current_authenticator().settings
    days = _whole(
        only_known(request.args.to_dict(flat=False), ("days",)), "days", statistics.DEFAULT_DAYS, statistics.MAX_DAYS
    )

    def work(session: Session) -> dict[str, Any]:
        return {
            **statistics.system_counts(session, days),
            "connections": statistics.connection_counts(session),
            "queue": statistics.queue_state(session),
            "times": statistics.step_times(session),
        }

    found = in_transaction(settings, work)
    found["queue"]["broker"] = queue_depths(settings)  # no database session is held meanwhile
    return found


@blueprint.get("/connections/status/")
@requires_person
def connections() -> dict[str, Any]:
    """Who is connected: oneself for everyone, all for administrators, a page at a time."""
    settings, person = current_authenticator().settings, current_person()
    given = only_known(request.args.to_dict(flat=False), ("cursor", "page_size"))
    size, after = _whole(given, "page_size", DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE), _place(given)
    sees_all = bool(set(settings.broadcast_roles) & set(person.roles))

    def work(session: Session) -> list[tuple[statistics.Place, dict[str, Any]]]:
        return statistics.open_connections(
            session, user_id=None if sees_all else person.id, after=after, limit=size + 1
        )

    found = in_transaction(settings, work)
    last = found[size - 1][0] if len(found) > size else None
    following = None if last is None else f"{request.path}?page_size={size}&cursor={last.gateway_id}-{last.number}"
    return {"next": following, "previous": None, "results": [connection for _, connection in found[:size]]}


def _place(given: Mapping[str, str]) -> statistics.Place:
    value = given.get("cursor")
    if value is None:
        return statistics.Place()
    found = CURSOR.fullmatch(value)
    if not found:
        raise InvalidInput.field("cursor", value, "the cursor of a `next` address")
    return statistics.Place(int(found[1]), int(found[2]))


def _whole(given: Mapping[str, str], name: str, default: int, largest: int) -> int:
    value = given.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or not 1 <= int(value) <= largest:
        raise InvalidInput.field(name, value, f"a whole number from 1 to {largest}")
    return int(value)
