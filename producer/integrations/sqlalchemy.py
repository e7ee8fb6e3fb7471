"""Events out of an application's own SQLAlchemy models, in the transaction of the change.

    from producer.integrations.sqlalchemy import Watch, watch

    watch(Stage, Watch(inserted=lambda stage: happened("stage_update", "created", {"stage_id": stage.id})))

From then on, whatever a session flushes is seen, without another call: the event is recorded after the
flush on the same connection, so it is committed and rolled back with the change, and the workers are
woken once the session commits. The application's tables and ours stand in one PostgreSQL database.
What is refused (an unknown group, a missing text) raises out of the flush: change and event are one.

Not seen, because SQLAlchemy itself tracks no rows there: `session.execute(update(…))`, `insert(…)`,
`Query.update()` and the `bulk_*` methods. Say what they did with a function of `producer.notify`.

Thread-safe. A class is watched at import, before the sessions that it is for; again replaces.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Mapper, Session, UOWTransaction

from producer.integrations.watch import Seen, Watch, follow, record_seen, together
from producer.outbox import joined, ring_after_commit
from shared.errors import InvalidInput
from shared.settings import get_settings

__all__ = ["Watch", "unwatch", "watch"]

CHANGES = "notification_changes"  # in session.info during a flush
Change = tuple[Any, Watch, dict[str, tuple[Any, Any]] | None]  # row, its watch, {attribute: (old, new)}

_watches: dict[type, Watch] = {}


def watch(model: type, what: Watch) -> None:
    """Watch a mapped class and its subclasses. Raises: InvalidInput for attributes that it has not."""
    mapper: Mapper[Any] = inspect(model)
    known = [attribute.key for attribute in mapper.attrs if not getattr(attribute, "uselist", False)]
    for name in what.changed:
        if name not in known:
            raise InvalidInput.field("changed", name, f"an attribute of {model.__name__}: {', '.join(sorted(known))}")
        attribute = getattr(model, name)
        if not event.contains(attribute, "set", _keep_old_value):
            event.listen(attribute, "set", _keep_old_value, active_history=True, propagate=True)
    _watches[model] = what
    if not event.contains(Session, "after_flush", _after_flush):
        event.listen(Session, "after_flush", _after_flush)
        event.listen(Session, "after_flush_postexec", _after_flush_postexec)


def unwatch(model: type) -> None:
    """Watch a class no longer."""
    _watches.pop(model, None)


def _keep_old_value(*_: object) -> None:
    """Does nothing: `active_history` makes SQLAlchemy load the old value before a new one replaces it."""


def _after_flush(session: Session, flush: UOWTransaction) -> None:
    """What changed: known only until the flush is finished."""
    inserted: list[Change] = [(row, what, None) for row in session.new if (what := _watch_of(row))]
    changed: list[Change] = [(row, what, _changes(row, what)) for row in session.dirty if (what := _watch_of(row))]
    session.info[CHANGES] = inserted + changed


def _after_flush_postexec(session: Session, flush: UOWTransaction) -> None:
    """Record it, now that the rows can be read whole: with defaults, keys and what they refer to."""
    found: list[Change] = session.info.pop(CHANGES, [])
    seen = together(_seen(*change) for change in found)
    if seen.is_empty:
        return
    settings = get_settings()
    with joined(session, inspect(type(found[0][0]))) as inner:
        rings = record_seen(inner, seen, settings)
    for task in rings:
        ring_after_commit(session, task, settings)


def _seen(row: Any, what: Watch, changes: dict[str, tuple[Any, Any]] | None) -> Seen:
    seen = follow(what, row)
    seen.drafts = what.drafts(row, changes)
    return seen


def _watch_of(row: Any) -> Watch | None:
    return next((_watches[kind] for kind in type(row).__mro__ if kind in _watches), None)


def _changes(row: Any, what: Watch) -> dict[str, tuple[Any, Any]]:
    """{attribute: (old, new)} of the watched attributes that this flush changed."""
    attributes = inspect(row).attrs
    histories = {name: attributes[name].history for name in what.changed}
    return {
        name: (_first(history.deleted), _first(history.added))
        for name, history in histories.items()
        if history.has_changes()
    }


def _first(values: Any) -> Any:
    return values[0] if values else None
