"""`state` frames: every tab of a person shows the same unread count, soon after anything changed it.

Whoever got a notification, or read or deleted one anywhere, is marked; at most every 200 ms one statement
counts for all who are marked and present. A count carries the version of its statement, so that browsers
can ignore an older one that arrives later.

Guarantees: a mark is followed by a count that was taken after it; marks survive a database that is away.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gevent
from gevent.event import Event

from gateway.inbox import oldest_shown, unread_counts
from gateway.live.encoding import json_frame
from gateway.live.hub import Hub
from gateway.live.loop import LiveLoop
from gateway.transactions import in_transaction
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.settings import Settings
from shared.topics import StateMessage

log = get_logger("live")

COUNTED_AT_ONCE = 1000  # people per statement
RETRY_SECONDS = 1.0  # when the database is away

Changes = dict[str, Any]


class StateKeeper:
    """Collects marks and tells people. One greenlet."""

    def __init__(self, settings: Settings, loop: LiveLoop, hub: Hub) -> None:
        self._settings = settings
        self._loop = loop
        self._hub = hub
        self._marked: dict[int, Changes | None] = {}
        self._something = Event()

    def mark(self, user_ids: Iterable[int]) -> None:
        """The unread counts of these people, who are present, may have changed."""
        for user_id in user_ids:
            self._marked.setdefault(user_id, None)
        self._something.set()

    def mark_everyone(self) -> None:
        """After a hiccup of Redis nobody knows what was missed."""
        self.mark(self._hub.present())

    def receive(self, message: StateMessage) -> None:
        """Something was read, seen or deleted, here or anywhere."""
        for user_id in message.user_ids:
            self.tell(user_id, message.changes())

    def tell(self, user_id: int, changes: Changes) -> None:
        """Say these changes to the person, with the next count."""
        if user_id in self._hub:
            self._marked[user_id] = _merged(self._marked.get(user_id), changes)
            self._something.set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            self._something.wait()
            gevent.sleep(self._loop.limits.state_seconds)
            self._something.clear()
            marked, self._marked = self._marked, {}
            here = [user_id for user_id in marked if user_id in self._hub]
            for start in range(0, len(here), COUNTED_AT_ONCE):
                some = {user_id: marked[user_id] for user_id in here[start : start + COUNTED_AT_ONCE]}
                try:
                    self._count(some)
                except Unavailable:
                    self._put_back(some)
                    gevent.sleep(RETRY_SECONDS)
                except Exception:
                    log.exception("counting_failed", count=len(some))

    def _count(self, marked: dict[int, Changes | None]) -> None:
        oldest = oldest_shown(self._settings)
        user_ids = list(marked)
        counts, version = in_transaction(self._settings, lambda session: unread_counts(session, user_ids, oldest))
        alike: dict[int, bytes] = {}  # most people of a broadcast have the same few counts
        for user_id, changes in marked.items():
            unread = counts.get(user_id, 0)
            frame = alike.get(unread) if changes is None else None
            if frame is None:
                frame = json_frame("state", unread_count=unread, version=version, **(changes or {}))
                if changes is None:
                    alike[unread] = frame
            self._hub.tell(user_id, frame)
        self._loop.flush()

    def _put_back(self, marked: dict[int, Changes | None]) -> None:
        for user_id, changes in marked.items():
            self._marked[user_id] = _merged(changes, self._marked.get(user_id) or {})
        self._something.set()


def _merged(earlier: Changes | None, later: Changes) -> Changes:
    """Both changes as one: lists are joined, everything else is the later one's."""
    merged = dict(earlier or {})
    for name, value in later.items():
        both = isinstance(value, list) and name in merged
        merged[name] = list(dict.fromkeys([*merged[name], *value])) if both else value
    return merged
