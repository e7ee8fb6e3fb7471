"""Who was refused, for the audit log: counted here, written a few rows at a time.

A refusal changes nothing, so it has no transaction to be recorded in, and a flood of them must not
fill the disk: equal ones are one row with a count, and of the different ones a bounded number is
written at a time; the rest is one row more that says how many they were. At most
MAX_ROWS + 1 rows every FLUSH_SECONDS: 0.2 million rows (50 MB) a day from a flood that never ends, nothing
without one. A gateway that is killed loses the counts of its last seconds.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.transactions import in_transaction
from shared import audit
from shared.audit import NOBODY, Actor
from shared.errors import Forbidden, NotificationError, RateLimited, Unauthorized, Unavailable
from shared.logs import get_logger
from shared.models import USER
from shared.settings import Settings

FLUSH_SECONDS = 10.0
MAX_ROWS = 20  # written at a time; the most frequent first
MAX_KEPT = 1000  # different ones between two flushes: 300 KB

# What is kept of a refusal. A browser without a token, or with one that has expired, is no news.
AUDITED: Mapping[type[NotificationError], str] = {
    Forbidden: "permission.refused",
    Unauthorized: "credentials.refused",
    RateLimited: "rate.limited",
}
NO_NEWS = ("missing", "expired")

UNKNOWN_PERSON = "unknown person"  # an old token names who was erased: their id doesn't come back by it
# They stay known until the refusals are written: an erasure waits for that, and then finds them.
KNOWN = text("SELECT external_id FROM users WHERE external_id = ANY(CAST(:ids AS text[])) ORDER BY id FOR KEY SHARE")

log = get_logger("refusals")


class Refusal(NamedTuple):
    """What equal refusals have in common."""

    action: str
    actor: str
    address: str | None
    target: str
    reason: str


class Refusals:
    """The refusals of one gateway process. Thread-safe. Started and stopped by whoever serves the app."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._counts: Counter[Refusal] = Counter()
        self._others = 0
        self._stopping = threading.Event()

    def remember(self, error: NotificationError, actor: Actor, target: str) -> None:
        """Count an error, if it is a refusal. `target` is a door, such as a method and a rule: of those there are few."""
        action = AUDITED.get(type(error))
        reason = error.details.get("reason") or error.details.get("limit") or error.message
        if action is not None and reason not in NO_NEWS:
            self.count(Refusal(action, actor.name, actor.address, target, str(reason)))

    def count(self, refusal: Refusal) -> None:
        """Count one; never waits for a server. The log, too, has equal ones once between two flushes."""
        with self._lock:
            is_new = refusal not in self._counts
            if is_new and len(self._counts) >= MAX_KEPT:
                self._others += 1
                return
            self._counts[refusal] += 1
        if is_new:
            log.warning(
                refusal.action.replace(".", "_"), actor=refusal.actor, target=refusal.target, reason=refusal.reason
            )

    def flush(self) -> None:
        """Write what was counted. What can't be written is kept for the next time, within the same bounds."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
            others, self._others = self._others, 0
        if not counts:
            return
        shown = counts.most_common(MAX_ROWS)
        rest = others + counts.total() - sum(number for _, number in shown)

        def work(session: Session) -> None:
            actors = _without_strangers(session, {one.actor for one, _ in shown})
            acts = [
                (Actor(actors[one.actor], one.address), one.action, one.target, {"reason": one.reason, "count": number})
                for one, number in shown
            ]
            if rest:
                acts.append((Actor(NOBODY), "refusals.others", "", {"count": rest}))
            audit.record_many(session, acts)

        try:
            in_transaction(self._settings, work)
        except Unavailable:
            with self._lock:
                self._counts, self._others = counts + self._counts, self._others + others
                while len(self._counts) > MAX_KEPT:
                    self._others += self._counts.popitem()[1]

    def start(self) -> None:
        """Write every few seconds from now on. In the worker, after the fork."""
        threading.Thread(target=self._run, name="refusals", daemon=True).start()

    def stop(self) -> None:
        """Write the last ones."""
        self._stopping.set()
        self.flush()

    def _run(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except Exception:
                log.exception("refusals_not_written")


def _without_strangers(session: Session, actors: set[str]) -> dict[str, str]:
    """What to write for each of these actors: themselves, but no id that nobody has."""
    ids = [actor.removeprefix(USER) for actor in actors if actor.startswith(USER)]
    known = {USER + found for found in session.scalars(KNOWN, {"ids": ids})} if ids else set()
    return {actor: actor if not actor.startswith(USER) or actor in known else UNKNOWN_PERSON for actor in actors}
