"""Which batches this gateway has handed out, so that a batch that comes again goes nowhere.

A batch can come twice at any time later: published again by the sweep, or read by the tail. To be exact
with bounded memory, the newest `limit` events are remembered, each with a bit per batch, and `floor` says
from which event id on that memory is complete. What Redis brings of older events is left to the tail,
which knows by transaction ids what it has read before (see replay.py). Event ids carry time, so on a
quiet gateway the floor stays where it started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

EVERYTHING = 1 << 62


class SentBatches:
    """The batches handed out. Starts with a floor above everything: until `begin`, all is the tail's."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._settled: dict[int, int] = {}  # event id → bits of its batches; oldest entry first
        self._fresh: dict[int, int] = {}  # since the tail's last snapshot: it may still read them
        self.floor = EVERYTHING

    def __len__(self) -> int:
        return len(self._settled) + len(self._fresh)

    def begin(self, floor: int, sent: Iterable[tuple[int, int]]) -> None:
        """From now on batches of events from `floor` on are ours; `sent` needs no sending."""
        for event_id, n in sent:
            self.claim(event_id, n)
        self.floor = floor

    def claim(self, event_id: int, n: int) -> bool:
        """Whether this batch is new; from now on it isn't."""
        bit = 1 << n
        fresh = self._fresh.get(event_id, 0)
        if (fresh | self._settled.get(event_id, 0)) & bit:
            return False
        self._fresh[event_id] = fresh | bit
        return True

    def has(self, event_id: int, n: int) -> bool:
        known = self._fresh.get(event_id, 0) | self._settled.get(event_id, 0)
        return bool(known & 1 << n)

    def settle(self) -> None:
        """Called just before the tail's snapshot: what was claimed until then is committed in it."""
        fresh, self._fresh = self._fresh, {}
        for event_id, bits in fresh.items():
            self._settled[event_id] = self._settled.get(event_id, 0) | bits

    def forget(self, still_open: Collection[int]) -> None:
        """Shrink to the limit, but for events that the tail's next reading may bring again."""
        excess = len(self._settled) - self._limit
        if excess <= 0:
            return
        oldest = [event_id for event_id in self._settled if event_id not in still_open]
        for event_id in oldest[:excess]:
            del self._settled[event_id]
            self.floor = max(self.floor, event_id + 1)
