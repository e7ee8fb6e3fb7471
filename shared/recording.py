"""Step ①, many at once: what `record_event` does to each of many drafts, in a handful of statements.

For whoever has many together: the changes of an application's models in one flush or transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared import templates
from shared.audience import Audience, refuse_unknown
from shared.catalog import EventType
from shared.events import (
    EventDraft,
    check_draft,
    key_is_busy,
    log_faults,
    put_into_words,
    refuse_other_content,
    source_users,
    waiting_briefly,
)
from shared.models import NotificationEvent as Event
from shared.settings import Settings, get_settings

INSERT_ALL = (
    insert(Event)
    .on_conflict_do_nothing(index_elements=["source", "idempotency_key"])
    .returning(Event.id, Event.template_faults)
)
Key = tuple[str, str]  # source and idempotency key


def record_events(session: Session, drafts: Sequence[EventDraft], settings: Settings | None = None) -> None:
    """Check all drafts and insert them as pending events in the session's transaction, in their order.

    A key that is recorded already, with the same content, is that event again. Raises as `record_event`
    does, for the first draft that is refused; none is recorded then.
    """
    settings = settings or get_settings()
    checked = [check_draft(draft, settings) for draft in drafts]
    if not checked:
        return
    refuse_unknown(session, Audience(exclude=tuple({name for _, audience in checked for name in audience.groups})))
    people = source_users(session, drafts)
    find_active = _remembering(session)
    rows = [values for values, _ in checked]
    for draft, values in zip(drafts, rows, strict=True):
        values["source_user_id"] = people.get(str(draft.source_user))
        put_into_words(values, find_active, settings)
    keys = [_key(values) for values in rows if values["idempotency_key"] is not None]
    if keys:
        with waiting_briefly(session, keys[0][1]):
            made = session.execute(INSERT_ALL, rows).all()
    else:
        made = session.execute(INSERT_ALL, rows).all()
    for event in made:
        log_faults(event.id, event.template_faults)
    if len(made) < len(rows):
        _compare_with_first(session, rows, keys)


def _remembering(session: Session) -> templates.FindActive:
    """Each event type and action is asked for once."""
    known: dict[tuple[str, Any], Mapping[str, Any]] = {}

    def find(kind: str, row: EventType, action: Any) -> Mapping[str, Any]:
        if (kind, str(action)) not in known:
            known[kind, str(action)] = templates.find_active(session, kind, row, action)
        return known[kind, str(action)]

    return find


def _compare_with_first(session: Session, rows: Iterable[Mapping[str, Any]], keys: Sequence[Key]) -> None:
    """Every key is recorded by now, by us or before. Raises: Conflict; Unavailable for one that is not."""
    query = select(Event.source, Event.idempotency_key, Event.id, Event.content_hash)
    found = session.execute(query.where(tuple_(Event.source, Event.idempotency_key).in_(keys)))
    first = {(source, key): (event_id, content) for source, key, event_id, content in found}
    for values in rows:
        if values["idempotency_key"] is None:
            continue
        if _key(values) not in first:  # committed after this transaction's snapshot, or rolled back just now
            raise key_is_busy(values["idempotency_key"])
        refuse_other_content(values["idempotency_key"], values["content_hash"], *first[_key(values)])


def _key(values: Mapping[str, Any]) -> Key:
    return values["source"], values["idempotency_key"]
