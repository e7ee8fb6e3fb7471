"""What `send_*` returns: the event, and the notifications it became once a worker has stored them.

The work happens in a worker, while code written for the earlier system counts and iterates the result:
so it is a sequence that waits for the notifications on first use. Reads the frozen plan in batches;
never holds more than one batch of people. The plan is kept for a day: who was reached before that is to be read
from the counts of the event, or from an archive.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import transaction
from shared.errors import NotFound, NotificationError, Timeout
from shared.models import ROLE, NotificationEvent
from shared.settings import Settings

WAIT_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.2

BATCHES = text("SELECT n, locale, cardinality(recipient_ids) FROM event_batches WHERE event_id = :id ORDER BY n")
BATCH = text("""
    SELECT users.external_id, users.name, users.email,
           ARRAY(SELECT substr(group_name, length(:role) + 1) FROM memberships
                 WHERE user_id = users.id AND starts_with(group_name, :role) ORDER BY group_name) AS roles
    FROM event_batches CROSS JOIN LATERAL unnest(recipient_ids) WITH ORDINALITY AS one (id, place)
    JOIN users ON users.id = one.id
    WHERE event_id = :id AND n = :n
    ORDER BY place
""")


@dataclass(frozen=True, slots=True)
class Recipient:
    """The person a notification was stored for; `id` is the application's own."""

    id: str
    name: str
    email: str | None
    roles: tuple[str, ...]

    @property
    def role(self) -> str | None:
        """Their role; the first by name when they have several."""
        return self.roles[0] if self.roles else None


@dataclass(frozen=True, slots=True)
class SentNotification:
    """One person's notification. Its id is the event's: the text stands once, there."""

    id: int
    recipient: Recipient
    title: str
    message: str
    notification_type: str
    data: dict[str, Any] = field(default_factory=dict)


class SentEvent(Sequence[SentNotification]):
    """An event that was recorded, as a sequence of its notifications."""

    def __init__(self, event: NotificationEvent, settings: Settings, session: Session | None = None) -> None:
        self.event = event
        self.id: int = event.id
        self._settings = settings
        self._session = session
        self._batches: list[tuple[int, str, int]] | None = None
        self._loaded: tuple[int, list[SentNotification]] = -1, []

    def __repr__(self) -> str:
        return f"<SentEvent {self.id}>"

    def wait(self, timeout: float = WAIT_SECONDS) -> SentEvent:
        """Wait until everyone in the plan has their notification; returns itself.

        Raises: Timeout after `timeout` seconds (the work goes on); NotificationError when the event
        failed, or when the transaction it belongs to is not committed yet.
        """
        deadline = time.monotonic() + timeout
        pause = FIRST_PAUSE_SECONDS
        while True:
            status, error = self._status()
            if status == "processed":
                return self
            if status == "failed":
                raise NotificationError(f"event {self.id} failed: {error}", event_id=self.id)
            if time.monotonic() >= deadline:
                raise Timeout(
                    f"event {self.id} is still {status} after {timeout:g} s: are workers running?", event_id=self.id
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _status(self) -> tuple[str, str | None]:
        with transaction(self._settings) as session:
            found = session.get(NotificationEvent, self.id)
            if found is None:
                cause = (
                    "commit its transaction first"
                    if self._is_open()
                    else "its transaction was rolled back or is not committed"
                )
                raise NotificationError(f"event {self.id} can't be waited for: {cause}", event_id=self.id)
            self.event = found
            return found.status, found.error

    def _is_open(self) -> bool:
        return self._session is not None and self._session.in_transaction()

    def __len__(self) -> int:
        return sum(size for _, _, size in self._plan())

    def __iter__(self) -> Iterator[SentNotification]:
        for n, locale, _ in self._plan():
            yield from self._load(n, locale)

    @overload
    def __getitem__(self, index: int) -> SentNotification: ...
    @overload
    def __getitem__(self, index: slice) -> list[SentNotification]: ...
    def __getitem__(self, index: int | slice) -> SentNotification | list[SentNotification]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        for n, locale, size in self._plan():
            if 0 <= place < size:
                return self._load(n, locale)[place]
            place -= size
        raise IndexError(index)

    def _plan(self) -> list[tuple[int, str, int]]:
        """The batches: (n, locale, number of people). Waits on first use."""
        if self._batches is None:
            self.wait()
            with transaction(self._settings) as session:
                found = [tuple(row) for row in session.execute(BATCHES, {"id": self.id})]
            self._refuse_if_gone(found)
            self._batches = found
        return self._batches

    def _refuse_if_gone(self, found: list[tuple[int, str, int]]) -> None:
        """Say so when the plan has been cleaned away, in part (its first batches go first) or as a whole."""
        people = self.event.recipient_count
        if [n for n, _, _ in found] != list(range(len(found))) or (people and not found):
            raise NotFound(
                f"event {self.id} reached {people} people, but who they were is kept for a day after sending only "
                "(event.recipient_count stays)",
                event_id=self.id,
                recipient_count=people,
            )

    def _load(self, n: int, locale: str) -> list[SentNotification]:
        """One batch; kept until another is asked for, since indices and slices come one by one."""
        if self._loaded[0] != n:
            with transaction(self._settings) as session:
                rows = session.execute(BATCH, {"id": self.id, "n": n, "role": ROLE}).all()
            words, kind, data = self.event.texts[locale], self.event.notification_type, self.event.data
            self._loaded = (
                n,
                [
                    SentNotification(
                        self.id,
                        Recipient(row.external_id, row.name, row.email, tuple(row.roles)),
                        words["title"],
                        words["message"],
                        kind,
                        data,
                    )
                    for row in rows
                ],
            )
        return self._loaded[1]
