"""What stands between the hub and a browser that has not caught up yet: why nothing comes twice.

A connection is in the hub before its cursor is read, so live frames can arrive before `connected`, and a
notification can be both live and part of a replay. The gate

- holds live frames back until `connected` is written, and again while a replay is being read;
- remembers which events it let pass, so that a replay leaves them out;
- after a replay, stops the events that were in it: a batch stored before the replay's snapshot may be
  published only later (its worker was killed in between). Once a reading of the tail that began after
  that snapshot has passed, the hub itself knows all those batches, and the gate is taken away.

Without a `resume` the gate is taken away after `resume_within_seconds`.
"""

from __future__ import annotations

from collections.abc import Collection

NOTHING: frozenset[int] = frozenset()


class Gate:
    """Stands at one connection. `event_id` 0 is a frame that belongs to no event."""

    __slots__ = ("held", "passed", "since", "stopped", "until_tail")

    def __init__(self, now: float) -> None:
        self.held: list[tuple[int, bytes]] | None = []
        self.passed: list[int] | None = None  # ids written so far; None: nobody will ask any more
        self.stopped: Collection[int] = NOTHING
        self.since = now
        self.until_tail: int | None = None  # number of the tail's reading that must have begun before

    def lets_pass(self, event_id: int, frame: bytes) -> bool:
        """Whether the frame may be written now; if not, it is kept or dropped here."""
        if event_id in self.stopped:
            return False
        if self.held is not None:
            self.held.append((event_id, frame))
            return False
        if event_id and self.until_tail is None:
            if self.passed is None:
                self.passed = [event_id]
            else:
                self.passed.append(event_id)
        return True

    def hold(self) -> None:
        self.held = []

    @property
    def holds(self) -> bool:
        return self.held is not None

    def release(self) -> list[bytes]:
        """The frames that were held back and may pass now."""
        held, self.held = self.held or [], None
        return [frame for event_id, frame in held if self.lets_pass(event_id, frame)]

    def stop(self, event_ids: Collection[int], until_tail: int) -> None:
        """These events were replayed: stop their live frames until that reading of the tail is over."""
        self.stopped = frozenset(event_ids)
        self.until_tail = until_tail
        self.passed = None

    def is_over(self, tail_number: int, now: float, resume_within_seconds: float) -> bool:
        """Whether the gate can go, now that reading `tail_number` of the tail is done."""
        if self.until_tail is not None:
            return tail_number >= self.until_tail
        return self.held is None and now - self.since > resume_within_seconds
