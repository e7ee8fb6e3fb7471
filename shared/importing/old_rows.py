"""What of an old row can be taken, and why not; which rows were one event.

Nothing is guessed: a row that can't be taken is refused with a reason, and reasons are counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from shared.audience import NAME
from shared.ids import EPOCH
from shared.models import NOTIFICATION_TYPES, ROLE, USER
from shared.texts import is_storable

MAX_TITLE, MAX_MESSAGE = 500, 20_000  # characters: history is kept as it was, longer than a producer may send now
STAGE = "stage_"
EXAMPLES = 5  # ids shown for each reason
CLOCKS_DIFFER = timedelta(hours=1)
TOO_OLD = "notification: older than NOTIFICATION_RETENTION_DAYS (--all takes it)"


class Refused(Exception):
    """Why a row, or a part of one, is not taken."""


@dataclass(slots=True)
class Refusals:
    """Reasons, how often, and the first ids of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, identity: object) -> None:
        self.counts[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(str(identity))

    def as_list(self) -> list[dict[str, Any]]:
        return [
            {"reason": reason, "rows": rows, "ids": self.examples[reason]} for reason, rows in self.counts.most_common()
        ]


@dataclass(frozen=True, slots=True)
class Rules:
    """What is taken, the same for import, dry run and check. `since` is None for everything."""

    since: datetime | None
    now: datetime
    zone: tzinfo = UTC
    types: Mapping[str, str] = field(default_factory=dict)


def taken_since(now: datetime, retention_days: int) -> datetime:
    """The UTC midnight from which notifications are taken: whole days, so that no event is cut in two."""
    return (now - timedelta(days=retention_days)).replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass(frozen=True, slots=True)
class OldPerson:
    external_id: str
    name: str
    email: str | None
    is_active: bool
    groups: list[str]


def read_person(row: Any, refusals: Refusals) -> OldPerson:
    """A person as they are here. What can't be a group is refused alone. Raises: Refused."""
    external_id = str(row.id)
    if row.id is None or not NAME.fullmatch(USER + external_id):
        raise Refused("person: the id can't be addressed")
    groups = []
    for prefix, value in ((ROLE, row.role), (STAGE, row.stage)):
        name = prefix + str(value).strip() if value is not None else prefix
        if name == prefix:
            continue
        if NAME.fullmatch(name):
            groups.append(name)
        else:
            refusals.add(
                f"person taken without {prefix.rstrip('_')}: it has spaces or one of & | , ; ! ( )", external_id
            )
    name = " ".join(part for part in (_clean(row.first_name), _clean(row.last_name)) if part)
    is_active = row.is_active is None or bool(row.is_active)
    return OldPerson(external_id, name or _clean(row.username), _clean(row.email) or None, is_active, groups)


def _clean(value: Any) -> str:
    cleaned = "" if value is None else str(value).strip()[:500]
    return cleaned if is_storable(cleaned) else ""


@dataclass(frozen=True, slots=True)
class OldNotification:
    """`key` names the event that it was part of; rows with the same key have the same words."""

    key: str
    recipient: str
    title: str
    message: str
    notification_type: str
    event_type: str | None
    created_at: datetime
    read_at: datetime | None


class Reader:
    """Reads rows that come oldest first, and tells which belong together.

    One event are the same words (title, message, type) of the same old event within a minute, or without
    an old event within a second. Who got the same twice meanwhile gets it twice here, as another event.
    Holds the (event, recipient) pairs of one minute.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._minute: datetime | None = None
        self._times: Counter[tuple[bytes, str]] = Counter()

    def read(self, row: Any) -> OldNotification:
        """The row as it can be stored. Raises: Refused."""
        created_at = _moment(row.created_at, self._rules.zone)
        if created_at is None:
            raise Refused("notification: no time when it was made")
        if self._rules.since is not None and created_at < self._rules.since:
            raise Refused(TOO_OLD)
        if not EPOCH <= created_at <= self._rules.now + CLOCKS_DIFFER:
            raise Refused("notification: made before 2024 or in the future, where no event id can be")
        if row.person is None:
            raise Refused("notification: nobody has the recipient's id")
        title, message = _text("title", row.title, MAX_TITLE), _text("message", row.message, MAX_MESSAGE)
        if not title.strip():
            raise Refused("notification: no title")
        notification_type = self._rules.types.get(str(row.type), str(row.type))
        if notification_type not in NOTIFICATION_TYPES:
            raise Refused(f"notification: the type is none of {', '.join(NOTIFICATION_TYPES)} (see --type)")
        recipient = str(row.person)
        if not NAME.fullmatch(USER + recipient):
            raise Refused("notification: the recipient's id can't be addressed")
        minute = created_at.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._times.clear()
        if row.event is None:
            said: list[object] = ["", created_at.replace(microsecond=0)]
        else:
            said = [row.event, minute]
        digest = hashlib.sha256(repr([*map(str, said), title, message, notification_type]).encode()).digest()[:16]
        again = self._times[digest, recipient]
        self._times[digest, recipient] += 1
        origin = f"notification:{digest.hex()}" if row.event is None else f"event:{str(row.event)[:100]}:{digest.hex()}"
        read_at = (_moment(row.read_at, self._rules.zone) or created_at) if row.is_read else None
        event_type = None if row.event_type is None else str(row.event_type).lower()
        return OldNotification(
            f"{origin}:{again}" if again else origin,
            recipient,
            title,
            message,
            notification_type,
            event_type,
            created_at,
            read_at,
        )


def _text(name: str, value: Any, longest: int) -> str:
    found = "" if value is None else str(value)
    if len(found) > longest:
        raise Refused(f"notification: the {name} is longer than {longest} characters")
    if not is_storable(found):
        raise Refused(f"notification: the {name} has NUL in it")
    return found


def _moment(value: Any, zone: tzinfo) -> datetime | None:
    """An aware time in UTC; None for what is none."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
