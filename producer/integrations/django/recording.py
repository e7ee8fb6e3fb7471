"""Recording a batch of waiting entries in our database: all at once, and what is refused by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, ProgrammingError, TimeoutError
from sqlalchemy.orm import Session

from producer.integrations.django.reading import Waiting, cause
from producer.integrations.watch import Seen, record_seen, together
from shared.errors import SettingsError, Unavailable
from shared.logs import get_logger
from shared.settings import Settings

# Not the fault of one entry: our database can't be used now, or not yet (its tables are missing).
AWAY = (OperationalError, InterfaceError, InternalError, ProgrammingError, TimeoutError, SettingsError)

log = get_logger("django")


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    recorded: list[Any] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)
    rings: set[str] = field(default_factory=set)


def record_waiting(session: Session, waiting: Sequence[Waiting], outcome: Outcome, settings: Settings) -> None:
    """Record all of it at once; when something is refused, find out what by halves, in order."""
    if len(waiting) == 1:
        _record_one(session, waiting[0], outcome, settings)
        return
    readable = [one for one in waiting if not one.error]
    try:
        with session.begin_nested():
            outcome.rings |= record_seen(session, together(one.seen for one in readable), settings)
    except AWAY:
        raise
    except Exception:  # noqa: BLE001  which of them it is, and why, is found out below
        middle = len(waiting) // 2
        record_waiting(session, waiting[:middle], outcome, settings)
        record_waiting(session, waiting[middle:], outcome, settings)
    else:
        outcome.recorded += [one.entry for one in readable]
        outcome.refused += [_refused(one) for one in waiting if one.error]


def _record_one(session: Session, one: Waiting, outcome: Outcome, settings: Settings) -> None:
    """People and groups hold even when the events are refused; all its events, or none."""
    followed = Seen(people=one.seen.people, roles=one.seen.roles, groups=one.seen.groups)
    try:
        for part in (followed, Seen(drafts=one.seen.drafts)):
            if not part.is_empty:
                with session.begin_nested():
                    outcome.rings |= record_seen(session, part, settings)
    except Unavailable:
        outcome.left.append(one.entry)
        return
    except AWAY:
        raise
    except Exception as error:  # noqa: BLE001  whatever it is, the later ones must not wait for it
        one.error = cause(error)
    if one.error:
        outcome.refused.append(_refused(one))
    else:
        outcome.recorded.append(one.entry)


def _refused(one: Waiting) -> Any:
    """The entry, with its error."""
    entry = one.entry
    entry.error, entry.refused_at = one.error, timezone.now()
    log.error("event_not_recorded", entry=entry.pk, model=entry.model, row=entry.row, error=entry.error)
    return entry
