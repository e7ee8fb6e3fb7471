"""A person's own notifications: list, count, read, delete. Someone else's are not found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, current_app, request
from sqlalchemy import Row
from sqlalchemy.orm import Session

from gateway import inbox
from gateway.auth import current_actor, current_authenticator, current_person, requires_person
from gateway.filters import (
    FILTER_PARAMETERS,
    NEWER,
    PAGE_PARAMETERS,
    SEARCH_PARAMETER,
    Page,
    only_known,
    read_event_id,
    read_filters,
    read_page,
    read_words,
)
from gateway.transactions import in_transaction
from shared import audit
from shared.errors import NotFound
from shared.frames import choose_locale, notification_json
from shared.topics import StateMessage

Change = Mapping[str, object] | None  # of a query string, where None removes; None: there is no such page
Cursors = Mapping[str, Change]

blueprint = Blueprint("notifications", __name__, url_prefix="/api/notifications/notifications")


@blueprint.get("/")
@requires_person
def list_notifications() -> dict[str, Any]:
    """The newest notifications, filtered, a page at a time."""
    given = only_known(request.args.to_dict(flat=False), FILTER_PARAMETERS + PAGE_PARAMETERS)
    filters, page = read_filters(given), read_page(given)
    user_id, oldest = current_person().id, _oldest()

    def work(session: Session) -> tuple[list[Row[Any]], int | None]:
        rows = inbox.list_page(session, user_id, filters, page, oldest)
        return rows, inbox.count(session, user_id, filters, oldest) if page.with_count else None

    rows, total = _transaction(work)
    shown, cursors = _cut(rows, page)
    return _as_page(given, shown, cursors, total)


@blueprint.get("/search/")
@requires_person
def search_notifications() -> dict[str, Any]:
    """Those whose title or message holds every word of `q`, whatever its accents and case; filtered as the list.

    A page may hold few and yet have a `next`: so far this request has looked, and that goes on there.
    """
    given = only_known(request.args.to_dict(flat=False), (SEARCH_PARAMETER, *FILTER_PARAMETERS, *PAGE_PARAMETERS))
    filters, page = replace(read_filters(given), words=read_words(given)), read_page(given)
    user_id, oldest = current_person().id, _oldest()

    def work(session: Session) -> tuple[list[Row[Any]], int | None, int | None]:
        rows, stopped_at = inbox.search_page(session, user_id, filters, page, oldest)
        return rows, stopped_at, inbox.search_count(session, user_id, filters, oldest) if page.with_count else None

    rows, stopped_at, total = _transaction(work)
    shown, cursors = _cut(rows, page)
    if stopped_at is not None and page.newer_than is not None:
        cursors = {**cursors, "previous": {"cursor": f"{NEWER}{stopped_at}"}}
    elif stopped_at is not None:
        cursors = {**cursors, "next": {"cursor": stopped_at, "page": None}}
    return _as_page(given, shown, cursors, total)


@blueprint.get("/unread-count/")
@requires_person
def unread_count() -> dict[str, int]:
    """How many are unread; of two answers the one with the higher version is the truer."""
    return _unread()


@blueprint.get("/<event_id>/")
@requires_person
def show_notification(event_id: str) -> dict[str, Any]:
    """One notification."""
    wanted = read_event_id(event_id)
    return _as_json(_transaction(lambda session: inbox.get(session, current_person().id, wanted, _oldest())))


@blueprint.post("/<event_id>/read/")
@requires_person
def mark_read(event_id: str) -> dict[str, Any]:
    """Mark one as read; doing it again changes nothing."""
    wanted, user_id = read_event_id(event_id), current_person().id

    def work(session: Session) -> tuple[list[int], Row[Any]]:
        changed = inbox.mark_read(session, user_id, [wanted])
        return changed, inbox.get(session, user_id, wanted, _oldest())

    changed, row = _transaction(work)
    if changed:
        _announce(StateMessage([user_id], read=changed))
    notification = _as_json(row)
    return {"id": wanted, "is_read": True, "read_at": notification["read_at"], **_unread()}


@blueprint.post("/mark-all-read/")
@requires_person
def mark_all_read() -> dict[str, int]:
    """Mark as read what is there now; what arrives meanwhile stays unread."""
    user_id = current_person().id
    ids = _transaction(lambda session: inbox.ids_of(session, user_id, _oldest(), unread=True))
    updated = _in_chunks(inbox.mark_read, ids)
    if updated:
        _announce(StateMessage([user_id], all_read=True))
    return {"updated": updated, **_unread()}


@blueprint.delete("/<event_id>/delete/")
@requires_person
def delete_notification(event_id: str) -> dict[str, int]:
    """Delete one for good."""
    wanted, user_id = read_event_id(event_id), current_person().id

    def work(session: Session) -> list[int]:
        inbox.get(session, user_id, wanted, _oldest())
        deleted = inbox.delete(session, user_id, [wanted])
        if deleted:
            audit.record(session, current_actor(), "notification.delete", str(wanted))
        return deleted

    deleted = _transaction(work)
    if not deleted:  # by another tab, between the two statements
        raise NotFound(f"id: you have no notification {wanted}", field="id", value=wanted)
    _announce(StateMessage([user_id], deleted=deleted))
    return {"deleted": 1, **_unread()}


@blueprint.delete("/clear-all/")
@requires_person
def clear_all() -> dict[str, int]:
    """Delete what is there now; what arrives meanwhile stays."""
    user_id = current_person().id
    ids = _transaction(lambda session: inbox.ids_of(session, user_id, _oldest(), unread=False))
    deleted = _in_chunks(_clear, ids)
    if deleted:
        _announce(StateMessage([user_id], cleared=True))
    return {"deleted": deleted, **_unread()}


def _clear(session: Session, user_id: int, ids: Sequence[int]) -> list[int]:
    deleted = inbox.delete(session, user_id, ids)
    if deleted:
        audit.record(
            session,
            current_actor(),
            "notification.clear",
            details={"count": len(deleted), "oldest": min(deleted), "newest": max(deleted)},
        )
    return deleted


def _in_chunks(change: Callable[[Session, int, Sequence[int]], list[int]], ids: list[int]) -> int:
    """Apply a change to many rows, each chunk in a transaction of its own: no lock is held for long."""
    user_id, changed = current_person().id, 0
    for start in range(0, len(ids), inbox.MAX_CHANGES):
        chunk = ids[start : start + inbox.MAX_CHANGES]
        changed += len(_transaction(lambda session, chunk=chunk: change(session, user_id, chunk)))  # type: ignore[misc]
    return changed


def _cut(rows: list[Row[Any]], page: Page) -> tuple[list[Row[Any]], Cursors]:
    """The rows of the page, and what to change in the query string for the next and the previous page."""
    has_more = len(rows) > page.size
    if page.number is not None:
        following: Change = {"page": page.number + 1} if has_more else None
        return rows[: page.size], {
            "next": following,
            "previous": {"page": page.number - 1} if page.number > 1 else None,
        }
    if page.newer_than is not None:
        shown = rows[-page.size :]
        oldest = shown[-1].id if shown else page.newer_than + 1
        return shown, {
            "next": {"cursor": oldest},
            "previous": {"cursor": f"{NEWER}{shown[0].id}"} if has_more else None,
        }
    shown = rows[: page.size]
    back: Change = None
    if page.older_than is not None:
        back = {"cursor": f"{NEWER}{shown[0].id if shown else page.older_than - 1}"}
    return shown, {"next": {"cursor": shown[-1].id} if has_more else None, "previous": back}


def _as_page(given: dict[str, str], shown: list[Row[Any]], cursors: Cursors, total: int | None) -> dict[str, Any]:
    addresses = {name: _address(given, change) for name, change in cursors.items()}
    return {**addresses, **({} if total is None else {"count": total}), "results": [_as_json(row) for row in shown]}


def _address(given: dict[str, str], change: Change) -> str | None:
    if change is None:
        return None
    return (
        f"{request.path}?{urlencode({name: value for name, value in {**given, **change}.items() if value is not None})}"
    )


def _as_json(row: Row[Any]) -> dict[str, Any]:
    locale = choose_locale(row.texts, current_person().locale, current_authenticator().settings.default_locale)
    return notification_json(row, locale, seen_at=row.seen_at, read_at=row.read_at)


def _unread() -> dict[str, int]:
    """Counted in a transaction of its own: its version then covers what was committed before."""
    user_id = current_person().id
    counts, version = _transaction(lambda session: inbox.unread_counts(session, [user_id], _oldest()))
    return {"unread_count": counts[user_id], "version": version}


def _oldest() -> int:
    return inbox.oldest_shown(current_authenticator().settings)


def _transaction(work: Callable[[Session], Any]) -> Any:
    return in_transaction(current_authenticator().settings, work)


def _announce(message: StateMessage) -> None:
    current_app.extensions["announcer"].announce(message)
