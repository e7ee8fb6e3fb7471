"""What a list is asked for: filters and page, read from a query string and checked.

An unknown or repeated parameter is refused: a typing error must not show a list that looks filtered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from sqlalchemy import ColumnElement

from shared.errors import InvalidInput
from shared.ids import MAX_EVENT_ID, SEQUENCE_BITS, first_event_id_at
from shared.models import NOTIFICATION_TYPES, Notification, NotificationEvent
from shared.texts import fold

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 20, 100
MAX_OFFSET = 10_000  # rows that a page number may skip; a cursor skips any number at once
MAX_TEXT_CHARACTERS = 100
MIN_SEARCH_CHARACTERS = 2  # one letter stands in nearly every text
MAX_SEARCH_WORDS = 10
DAY_OF_IDS = 86_400 << SEQUENCE_BITS
NEWER = "newer-"  # a cursor is an event id: older than it; with this prefix: newer than it

FILTER_PARAMETERS = ("is_read", "notification_type", "category", "event_type", "since", "until")
SEARCH_PARAMETER = "q"
PAGE_PARAMETERS = ("cursor", "page", "page_size", "count")

_WHOLE = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which notifications; None means any. `since` and `until` are aware; both ends are included.

    `words` are folded and all have to stand in the title or the message.
    """

    is_read: bool | None = None
    notification_type: str | None = None
    category: str | None = None
    event_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: tuple[str, ...] = ()

    @property
    def needs_event(self) -> bool:
        """Whether the conditions speak of the event, not only of the notification."""
        return any((self.notification_type, self.category, self.event_type, self.since, self.until, self.words))

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filters in SQL, over `notifications` joined with its events."""
        return [*self.own_conditions(), *self.event_conditions()]

    def own_conditions(self) -> list[ColumnElement[bool]]:
        """What they say of the person's row.

        An event's id is made when it is recorded, up to a long transaction after its `created_at`:
        the ids narrow the partitions, with a day's slack, and `created_at` decides.
        """
        found: list[ColumnElement[bool]] = []
        if self.is_read is not None:
            found.append(Notification.read_at.is_not(None) if self.is_read else Notification.read_at.is_(None))
        if self.since is not None:
            found.append(Notification.event_id >= first_event_id_at(self.since))
        if self.until is not None:
            found.append(Notification.event_id < first_event_id_at(self.until) + DAY_OF_IDS)
        return found

    def event_conditions(self) -> list[ColumnElement[bool]]:
        """What they say of the event."""
        event = NotificationEvent
        found: list[ColumnElement[bool]] = []
        if self.notification_type is not None:
            found.append(event.notification_type == self.notification_type)
        if self.category is not None:
            found.append(event.category == self.category)
        if self.event_type is not None:
            found.append(event.event_type == self.event_type)
        if self.since is not None:
            found += [event.created_at >= self.since, event.id >= first_event_id_at(self.since)]
        if self.until is not None:
            found += [event.created_at <= self.until, event.id < first_event_id_at(self.until) + DAY_OF_IDS]
        return found + [event.search_text.contains(word, autoescape=True) for word in self.words]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the list: by number, or by an event id to be older or newer than."""

    size: int = DEFAULT_PAGE_SIZE
    number: int | None = None
    older_than: int | None = None
    newer_than: int | None = None
    with_count: bool = False

    @property
    def offset(self) -> int:
        return 0 if self.number is None else (self.number - 1) * self.size


def read_filters(given: Mapping[str, str]) -> Filters:
    """The filters of a query string. Raises: InvalidInput naming the parameter."""
    kind = given.get("notification_type")
    if kind is not None and kind not in NOTIFICATION_TYPES:
        raise InvalidInput.field("notification_type", kind, "one of " + ", ".join(NOTIFICATION_TYPES))
    since, until = read_moments(given)
    return Filters(
        is_read=_boolean(given, "is_read"),
        notification_type=kind,
        category=read_text(given, "category"),
        event_type=read_text(given, "event_type"),
        since=since,
        until=until,
    )


def read_words(given: Mapping[str, str]) -> tuple[str, ...]:
    """The words of `q`, folded as the texts are. Raises: InvalidInput."""
    asked = given.get(SEARCH_PARAMETER, "")
    words = tuple(dict.fromkeys(fold(asked).split()))
    is_long_enough = sum(map(len, words)) >= MIN_SEARCH_CHARACTERS
    if not is_long_enough or len(asked) > MAX_TEXT_CHARACTERS or len(words) > MAX_SEARCH_WORDS or "\0" in asked:
        expected = f"{MIN_SEARCH_CHARACTERS} to {MAX_TEXT_CHARACTERS} characters in at most {MAX_SEARCH_WORDS} words"
        raise InvalidInput.field(SEARCH_PARAMETER, asked, expected)
    return words


def read_page(given: Mapping[str, str]) -> Page:
    """The page of a query string. Raises: InvalidInput naming the parameter."""
    size = read_whole(given, "page_size", MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE
    number = read_whole(given, "page", MAX_OFFSET // size + 1)
    cursor = given.get("cursor")
    if cursor is not None and number is not None:
        raise InvalidInput.field("page", given["page"], "either a page or a cursor, not both")
    older_than = newer_than = None
    if cursor is not None:
        digits = cursor.removeprefix(NEWER)
        if not _WHOLE.fullmatch(digits) or int(digits) > MAX_EVENT_ID:
            raise InvalidInput.field("cursor", cursor, "the cursor of a `next` or `previous` address")
        if cursor.startswith(NEWER):
            newer_than = int(digits)
        else:
            older_than = int(digits)
    return Page(size, number, older_than, newer_than, _boolean(given, "count") or False)


def only_known(given: Mapping[str, Sequence[str]], known: Sequence[str]) -> dict[str, str]:
    """The parameters by name, each known and given once. Raises: InvalidInput."""
    for name, values in given.items():
        if name not in known:
            raise InvalidInput.field("parameter", name, "one of " + ", ".join(known))
        if len(values) > 1:
            raise InvalidInput.field(name, list(values), "one value")
    return {name: values[0] for name, values in given.items()}


def read_event_id(value: str) -> int:
    """The event id in a path. Raises: InvalidInput."""
    if not _WHOLE.fullmatch(value):
        raise InvalidInput.field("id", value, "the id of a notification: a whole number")
    return int(value)


def _boolean(given: Mapping[str, str], name: str) -> bool | None:
    value = given.get(name)
    if value is None:
        return None
    if value.lower() not in ("true", "false"):
        raise InvalidInput.field(name, value, "true or false")
    return value.lower() == "true"


def read_text(given: Mapping[str, str], name: str, longest: int = MAX_TEXT_CHARACTERS) -> str | None:
    """A parameter as it is. Raises: InvalidInput when it is empty or too long."""
    value = given.get(name)
    if value is not None and (not 0 < len(value) <= longest or "\0" in value):
        raise InvalidInput.field(name, value, f"1 to {longest} characters")
    return value


def read_whole(given: Mapping[str, str], name: str, largest: int) -> int | None:
    """A number from 1 to `largest`. Raises: InvalidInput."""
    value = given.get(name)
    if value is None:
        return None
    if not _WHOLE.fullmatch(value) or not 1 <= int(value) <= largest:
        raise InvalidInput.field(name, value, f"a whole number from 1 to {largest}")
    return int(value)


def read_moments(given: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """`since` and `until`, aware. Raises: InvalidInput.

    Times are shown to the millisecond and kept finer: `until` means the end of its millisecond, so that a time
    that was shown includes what it was shown of.
    """
    since, until = _moment(given, "since", time.min), _moment(given, "until", time.max)
    return since, until and until.replace(microsecond=until.microsecond // 1000 * 1000 + 999)


def _moment(given: Mapping[str, str], name: str, of_day: time) -> datetime | None:
    """A date means its whole day; a time without a zone is UTC."""
    value = given.get(name)
    if value is None:
        return None
    try:
        if len(value) == len("2026-11-30"):
            return datetime.combine(date.fromisoformat(value), of_day, UTC)
        moment = datetime.fromisoformat(
            value.replace(" ", "+") if "T" in value else value
        )  # `+02:00`, written without %2B
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInput.field(
            name, value, "an ISO date or time such as 2026-11-30 or 2026-11-30T08:00:00Z"
        ) from None
