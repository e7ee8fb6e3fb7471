"""Step ⑦: one person's notifications: list, count, read, seen, delete.

Everything here is within one recipient's rows and skips what is deleted, archived or older than
NOTIFICATION_RETENTION_DAYS. Rows are locked in the order (recipient_id, event_id), at most
`MAX_CHANGES` at a time, so that no two of these ever deadlock. Nothing here commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Subquery,
    bindparam,
    func,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from gateway.filters import Filters, Page
from shared.errors import NotFound
from shared.ids import MAX_EVENT_ID, first_event_id_at
from shared.models import Notification, NotificationEvent
from shared.settings import Settings, get_settings

MAX_CHANGES = 1000  # rows locked by one statement: a few milliseconds, so that nobody waits for long
SEARCHED = 20_000  # notifications that one search looks through: 10,000 of one person among 2 million events took 70 ms

Event = NotificationEvent
SHOWN = (
    Event.id,
    Event.event_type,
    Event.category,
    Event.notification_type,
    Event.texts,
    Event.data,
    Event.link,
    Event.image,
    Event.actions,
    Event.thread_key,
    Event.format,
    Event.priority,
    Event.created_at,
    Notification.seen_at,
    Notification.read_at,
)

# statement_timestamp(), not clock_timestamp(): it is taken before the snapshot, so a count of a higher
# version holds every change that a count of a lower version could have held.
COUNTS = text("""
    SELECT u.id,
           (SELECT count(*) FROM notifications n
            WHERE n.recipient_id = u.id AND n.event_id >= :oldest
              AND n.read_at IS NULL AND n.deleted_at IS NULL AND n.archived_at IS NULL) AS unread,
           (extract(epoch FROM statement_timestamp()) * 1000000)::bigint AS version
    FROM unnest(:user_ids) AS u (id)
""").bindparams(bindparam("user_ids", type_=ARRAY(BigInteger)))

# The inner statement locks in order; UPDATE alone would lock in the order its plan happens to read.
# What changed is appended for the statistics in the same statement: counted exactly if it is committed.
CHANGE = """
    WITH changed AS (
        UPDATE notifications SET {assignments}
        WHERE recipient_id = :user_id AND event_id BETWEEN :lowest AND :highest
          AND event_id = ANY (ARRAY(
            SELECT event_id FROM notifications
            WHERE recipient_id = :user_id AND event_id BETWEEN :lowest AND :highest AND event_id = ANY (:event_ids)
              AND {unchanged} AND deleted_at IS NULL AND archived_at IS NULL
            ORDER BY recipient_id, event_id
            FOR UPDATE))
        RETURNING recipient_id, event_id, {counted} AS counted
    ), noted AS (
        INSERT INTO count_changes (what, event_ids, user_ids)
        SELECT what, array_agg(event_id), array_agg(recipient_id) FROM changed CROSS JOIN unnest(counted) AS what
        GROUP BY what
    )
    SELECT event_id FROM changed
"""


def _change(assignments: str, unchanged: str, counted: str) -> Any:
    statement = CHANGE.format(assignments=assignments, unchanged=unchanged, counted=counted)
    return text(statement).bindparams(bindparam("event_ids", type_=ARRAY(BigInteger)))


READ = _change(
    "read_at = now(), seen_at = coalesce(seen_at, now())",
    "read_at IS NULL",
    "CASE WHEN seen_at = read_at THEN ARRAY['read', 'seen'] ELSE ARRAY['read'] END",  # both now: not seen before
)
SEEN = _change("seen_at = now()", "seen_at IS NULL", "ARRAY['seen']")
DELETE = _change("deleted_at = now()", "true", "ARRAY['deleted']")


def oldest_shown(settings: Settings | None = None) -> int:
    """The smallest event id that is still shown."""
    days = (settings or get_settings()).notification_retention_days
    return first_event_id_at(datetime.now(UTC) - timedelta(days=days))


def list_page(session: Session, user_id: int, filters: Filters, page: Page, oldest: int) -> list[Row[Any]]:
    """Up to `page.size + 1` notifications, newest first: one more than shown says that there are more.

    A page of newer ones than its cursor has the extra one at its start, all others at their end.
    """
    # Bounds stand on both ids: PostgreSQL passes equalities through a join, not inequalities, and may
    # walk either index; bounded on one side only, a deep page walked all the newer events.
    bounds = [Event.id >= oldest]
    if page.newer_than is not None:
        bounds += [Notification.event_id > page.newer_than, Event.id > page.newer_than]
    if page.older_than is not None:
        bounds += [Notification.event_id < page.older_than, Event.id < page.older_than]
    query = (
        select(*SHOWN)
        .join(Event, Event.id == Notification.event_id)
        .where(*_within(user_id, oldest), *bounds, *filters.conditions())
    )
    if page.newer_than is not None:
        return list(reversed(session.execute(query.order_by(Notification.event_id).limit(page.size + 1)).all()))
    return list(session.execute(query.order_by(Notification.event_id.desc()).offset(page.offset).limit(page.size + 1)))


def count(session: Session, user_id: int, filters: Filters, oldest: int) -> int:
    """How many notifications match the filters, on all pages."""
    query: Select[Any] = (
        select(func.count()).select_from(Notification).where(*_within(user_id, oldest), *filters.conditions())
    )
    if filters.needs_event:
        query = query.join(Event, Event.id == Notification.event_id)
    return int(session.scalar(query) or 0)


def search_page(
    session: Session, user_id: int, filters: Filters, page: Page, oldest: int
) -> tuple[list[Row[Any]], int | None]:
    """As `list_page`, among the next SEARCHED notifications of the person in the direction of the page.

    Beside the rows: where the search stopped looking, None when it saw everything there is. Whatever is
    searched for, it costs at most SEARCHED reads by primary key.
    """
    within = _searched(user_id, filters, page, oldest)
    # OFFSET 0 keeps PostgreSQL from flattening this: it would scan all events where it believes a word to
    # be frequent, whereas now it asks for each of the person's events by its key, in order, and stops early.
    event = select(*SHOWN[:-2]).where(Event.id == within.c.event_id, *filters.event_conditions()).offset(0).lateral()
    order = within.c.event_id if page.newer_than is not None else within.c.event_id.desc()
    query = select(event, within.c.seen_at, within.c.read_at).select_from(within.join(event, true())).order_by(order)
    found = list(session.execute(query.offset(page.offset).limit(page.size + 1)))
    if page.newer_than is not None:
        found.reverse()
    if len(found) > page.size:
        return found, None
    last = select(within.c.event_id).order_by(order).offset(SEARCHED - 1).limit(1)
    return found, session.scalar(last)


def search_count(session: Session, user_id: int, filters: Filters, oldest: int) -> int:
    """How many of the newest SEARCHED notifications match."""
    within = _searched(user_id, filters, Page(), oldest)
    event = select(Event.id).where(Event.id == within.c.event_id, *filters.event_conditions()).offset(0).lateral()
    return int(session.scalar(select(func.count()).select_from(within.join(event, true()))) or 0)


def _searched(user_id: int, filters: Filters, page: Page, oldest: int) -> Subquery:
    """The person's notifications that a search looks through, from the page's cursor on."""
    query = select(Notification.event_id, Notification.seen_at, Notification.read_at).where(
        *_within(user_id, oldest), *filters.own_conditions()
    )
    if page.newer_than is not None:
        return (
            query.where(Notification.event_id > page.newer_than)
            .order_by(Notification.event_id)
            .limit(SEARCHED)
            .subquery()
        )
    if page.older_than is not None:
        query = query.where(Notification.event_id < page.older_than)
    return query.order_by(Notification.event_id.desc()).limit(SEARCHED).subquery()


def get(session: Session, user_id: int, event_id: int, oldest: int) -> Row[Any]:
    """One notification. Raises: NotFound when it is absent, deleted or someone else's: the three are not told apart."""
    query = (
        select(*SHOWN)
        .join(Event, Event.id == Notification.event_id)
        .where(*_within(user_id, oldest), Notification.event_id == event_id)
    )
    found = session.execute(query).first() if 0 < event_id <= MAX_EVENT_ID else None
    if found is None:
        raise NotFound(f"id: you have no notification {event_id}", field="id", value=event_id)
    return found


def unread_counts(session: Session, user_ids: Sequence[int], oldest: int | None = None) -> tuple[dict[int, int], int]:
    """The unread count of each person, and the version of these counts: microseconds of the database's clock.

    Of two counts of one person, the one with the higher version is the truer. Count in a transaction
    of its own, after the change is committed.
    """
    oldest = oldest_shown() if oldest is None else oldest
    rows = session.execute(COUNTS, {"user_ids": list(user_ids), "oldest": oldest}).all()
    return {row.id: row.unread for row in rows}, max((row.version for row in rows), default=0)


def ids_of(session: Session, user_id: int, oldest: int, *, unread: bool) -> list[int]:
    """The ids of all (or all unread) notifications of a person, ascending, at one moment.

    What `mark-all-read` and `clear-all` act on: whatever is stored afterwards is not swallowed, even
    where its event is older.
    """
    query = select(Notification.event_id).where(*_within(user_id, oldest)).order_by(Notification.event_id)
    if unread:
        query = query.where(Notification.read_at.is_(None))
    return list(session.scalars(query))


def mark_read(session: Session, user_id: int, event_ids: Sequence[int]) -> list[int]:
    """Mark as read (and seen) what was not, of up to MAX_CHANGES events; the ids that changed."""
    return _apply(session, READ, user_id, event_ids)


def mark_seen(session: Session, user_id: int, event_ids: Sequence[int]) -> list[int]:
    """Mark as seen what was not, of up to MAX_CHANGES events; the ids that changed."""
    return _apply(session, SEEN, user_id, event_ids)


def delete(session: Session, user_id: int, event_ids: Sequence[int]) -> list[int]:
    """Delete for good, of up to MAX_CHANGES events; the ids that were there."""
    return _apply(session, DELETE, user_id, event_ids)


def _apply(session: Session, statement: Any, user_id: int, event_ids: Sequence[int]) -> list[int]:
    if len(event_ids) > MAX_CHANGES:
        raise ValueError(f"{len(event_ids)} rows in one statement: at most {MAX_CHANGES}")
    wanted = sorted({event_id for event_id in event_ids if 0 < event_id <= MAX_EVENT_ID})
    if not wanted:
        return []
    values = {"user_id": user_id, "event_ids": wanted, "lowest": wanted[0], "highest": wanted[-1]}
    return sorted(session.scalars(statement, values))


def _within(user_id: int, oldest: int) -> tuple[ColumnElement[bool], ...]:
    return (
        Notification.recipient_id == user_id,
        Notification.event_id >= oldest,
        Notification.deleted_at.is_(None),
        Notification.archived_at.is_(None),
    )
