"""A notification of the earlier system as it can be stored here; which of them were one event."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.audience import NAME
from shared.ids import EPOCH
from shared.importing.rules import Refused, Remarks, Rules
from shared.importing.values import NO_TEXT, moment_of, text_of, truth_of
from shared.models import NOTIFICATION_TYPES, USER
from shared.texts import is_blank, one_line, readable

MAX_TITLE, MAX_MESSAGE = 500, 20_000  # characters: history is kept as it was, longer than a producer may send now
CLOCKS_DIFFER = timedelta(hours=1)
TOO_OLD = "notification: older than NOTIFICATION_RETENTION_DAYS (--all takes it)"
NAMED_EVENT = re.compile(r"[\w-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class OldNotification:
    """`key` names the event that it was part of; rows with the same key have the same words and old `event`."""

    key: str
    event: Any
    recipient: str
    title: str
    message: str
    notification_type: str
    created_at: datetime
    read_at: datetime | None


class Reader:
    """Reads rows that come oldest first, and tells which belong together.

    One event are the same words (title, message, type) of the same old event within a minute, or without
    an old event within a second. Who got the same twice meanwhile gets it twice here, as another event.
    Holds who got what within the current minute, some 120 bytes each.
    """

    def __init__(self, rules: Rules, remarks: Remarks) -> None:
        self._rules = rules
        self._remarks = remarks
        self._minute: datetime | None = None
        self._times: Counter[bytes] = Counter()

    def read(self, row: Any) -> OldNotification:
        """The row as it can be stored. Raises: Refused."""
        created_at = self._created_at(row)
        if row.person is None:
            raise Refused("notification: nobody has the recipient's id")
        recipient = text_of(row.person)
        if not recipient or not NAME.fullmatch(USER + recipient):
            raise Refused("notification: the recipient's id can't be addressed")
        title, message = self._words(row)
        notification_type = self._rules.types.get(str(row.type), str(row.type))
        if notification_type not in NOTIFICATION_TYPES:
            raise Refused(f"notification: the type is none of {', '.join(NOTIFICATION_TYPES)} (see --type)")
        is_read = False if row.is_read is None else truth_of(row.is_read)
        if is_read is None:
            raise Refused("notification: neither read nor unread")
        read_at = self._read_at(row, created_at) if is_read else None
        key = self._key(row.event, created_at, recipient, title, message, notification_type)
        return OldNotification(key, row.event, recipient, title, message, notification_type, created_at, read_at)

    def _words(self, row: Any) -> tuple[str, str]:
        """Title and message as they may be shown: control characters become spaces."""
        title, message = _text("title", row.title, MAX_TITLE), _text("message", row.message, MAX_MESSAGE)
        if is_blank(title):
            raise Refused("notification: no title")
        shown = one_line(title), readable(message)
        if shown != (title.strip(), message.replace("\r\n", "\n").strip()):
            self._remarks.add("notification taken, with spaces for control characters", row.id)
        return shown

    def _created_at(self, row: Any) -> datetime:
        created_at = moment_of(row.created_at, self._rules.zone)
        if created_at is None:
            raise Refused("notification: no time when it was made")
        if self._rules.since is not None and created_at < self._rules.since:
            raise Refused(TOO_OLD)
        if created_at < EPOCH:
            raise Refused("notification: made before 2024, where no event id can be")
        if created_at > self._rules.now + CLOCKS_DIFFER:
            raise Refused("notification: made in the future")
        return created_at

    def _read_at(self, row: Any, created_at: datetime) -> datetime:
        """When it was read: never before it was made, nor in the future."""
        if row.read_at is None:
            return created_at
        read_at = moment_of(row.read_at, self._rules.zone)
        if read_at is not None and created_at <= read_at <= self._rules.now + CLOCKS_DIFFER:
            return read_at
        why = "no time" if read_at is None else "before it was made" if read_at < created_at else "in the future"
        self._remarks.add(f"notification taken, as read when it was made: the time it was read is {why}", row.id)
        return created_at

    def _key(self, event: Any, made: datetime, recipient: str, title: str, message: str, notification_type: str) -> str:
        minute = made.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._minute = minute
            self._times.clear()
        within = made.replace(microsecond=0) if event is None else minute
        # repr: an id may hold anything, and NUL stands in none of the texts
        said = "\0".join((repr(event), str(within), title, message, notification_type))
        digest = hashlib.blake2b(said.encode(), digest_size=16).digest()
        got = hashlib.blake2b(digest + recipient.encode(), digest_size=16).digest()
        self._times[got] += 1
        times = self._times[got]
        named = "" if event is None else str(event)
        origin = f"event:{named}" if NAMED_EVENT.fullmatch(named) else "notification" if event is None else "event"
        key = f"{origin}:{digest.hex()}"
        return key if times == 1 else f"{key}:{times}"


def _text(name: str, value: Any, longest: int) -> str:
    found = text_of(value)
    if found is None:
        raise Refused(f"notification: the {name} is {NO_TEXT}")
    if len(found) > longest:
        raise Refused(f"notification: the {name} is longer than {longest} characters")
    return found
