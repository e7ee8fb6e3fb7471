"""What waiting entries say: their drafts, and the people and groups that their rows are by now.

Rows are looked at when an entry is moved, not when it was written: a group is whole by then, and the last
state counts. A row that is gone is followed no more; what happened to it is said all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError

from producer.integrations.django.drafts import decode
from producer.integrations.django.registry import followed_rows, row_name, watch_of
from producer.integrations.watch import Seen, follow
from shared.errors import NotificationError

Row = tuple[str, str]  # model and row of an entry


@dataclass(slots=True)
class Waiting:
    """An entry with what it says, or why it can't."""

    entry: Any
    seen: Seen
    error: str = ""


def read(entries: Sequence[Any], using: str) -> list[Waiting]:
    """What these entries of one database say, in their order; a query for each model that is followed."""
    rows = _rows(entries, using)
    # A row that was saved several times is followed once, before the first of its events.
    return [_read_one(entry, rows.pop((entry.model, entry.row), None)) for entry in entries]


def _read_one(entry: Any, row: Any) -> Waiting:
    """With keys by which an event that is recorded twice is one."""
    try:
        what = None if row is None else watch_of(type(row))
        seen = Seen() if what is None else follow(what, row)
        seen.drafts = decode(entry.events)
    except (OperationalError, InterfaceError):
        raise  # the application's database, not this entry
    except Exception as error:  # noqa: BLE001  whatever the application's functions raise
        return Waiting(entry, Seen(), cause(error))
    for n, draft in enumerate(seen.drafts):
        if draft.idempotency_key is None:
            draft.idempotency_key = f"{entry.transaction}:{entry.pk}:{n}"
    return Waiting(entry, seen)


def cause(error: BaseException) -> str:
    """An error in one line. Of a database's, what the server said."""
    if isinstance(error, NotificationError):
        return error.message
    said = str(getattr(error, "orig", None) or error).strip()
    return f"{type(error).__name__}: {said.splitlines()[0]}" if said else type(error).__name__


def _rows(entries: Sequence[Any], using: str) -> dict[Row, Any]:
    """The rows that are to be followed and are still there."""
    wanted: dict[str, set[str]] = {}
    for entry in entries:
        if entry.model:
            wanted.setdefault(entry.model, set()).add(entry.row)
    return {
        (label, row_name(type(row), row.pk)): row
        for label, names in wanted.items()
        for row in followed_rows(label, names, using)
    }
