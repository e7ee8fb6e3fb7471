"""Step ⑥, the people side: who is here, and handing each stored batch to exactly its recipients.

Guarantees: a batch is handed out once, however often and by whichever way it comes (Redis or the tail);
its frame is encoded once for all receivers; a person with several tabs gets it in each.
Never: waits, or looks into a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gateway.live import codes
from gateway.live.connection import Connection
from gateway.live.deliveries import Handed
from gateway.live.encoding import text_frame
from gateway.live.gate import Gate
from gateway.live.loop import LiveLoop
from gateway.live.sent import SentBatches
from shared.logs import get_logger
from shared.topics import BatchMessage

log = get_logger("live")


class Hub:
    """The people present in this process, by `users.id`."""

    def __init__(self, loop: LiveLoop) -> None:
        self._loop = loop
        self._limits = loop.limits
        self._people: dict[int, Connection | list[Connection]] = {}  # most have one tab: no list
        self._gated: set[Connection] = set()
        self.sent = SentBatches(loop.limits.remembered_events)
        self.ring_tail: Callable[[], None]
        self.mark_unread: Callable[[Iterable[int]], None]
        self.handed: Callable[[Handed], None]

    def __len__(self) -> int:
        return len(self._people)

    def join(self, connection: Connection, user_id: int) -> None:
        """The person is here; live frames are held back until `connected` is written."""
        connection.user_id = user_id
        connection.gate = Gate(self._loop.now)
        self._gated.add(connection)
        found = self._people.get(user_id)
        if found is None:
            self._people[user_id] = connection
        elif isinstance(found, list):
            found.append(connection)
        else:
            self._people[user_id] = [found, connection]

    def leave(self, connection: Connection) -> None:
        self._gated.discard(connection)
        found = self._people.get(connection.user_id)
        if found is connection:
            del self._people[connection.user_id]
        elif isinstance(found, list) and connection in found:
            found.remove(connection)
            if len(found) == 1:
                self._people[connection.user_id] = found[0]

    def present(self) -> list[int]:
        return list(self._people)

    def __contains__(self, user_id: int) -> bool:
        return user_id in self._people

    def tabs(self, user_id: int) -> int:
        """How many connections the person has here."""
        found = self._people.get(user_id)
        return len(found) if isinstance(found, list) else int(found is not None)

    def of(self, user_id: int) -> Iterator[Connection]:
        """The person's connections: one per tab."""
        found = self._people.get(user_id)
        if isinstance(found, list):
            yield from list(found)
        elif found is not None:
            yield found

    def receive(self, message: BatchMessage) -> None:
        """A batch from Redis: hand it out, unless it was, or unless only the tail can tell."""
        sent = self.sent
        if sent.has(message.event_id, message.n):
            return
        if message.event_id < sent.floor:
            if any(user_id in self._people for user_id in message.recipient_ids):
                self.ring_tail()
            return
        sent.claim(message.event_id, message.n)
        self.hand_out(message.event_id, message.n, message.recipient_ids, message.frame)

    def hand_out(self, event_id: int, n: int, recipient_ids: Iterable[int], payload: bytes) -> None:
        """Queue the frame for every recipient present. The caller flushes the loop."""
        people = self._people
        here = {user_id: place for place, user_id in enumerate(recipient_ids) if user_id in people}
        if not here:
            return
        frame = text_frame(payload)
        batch = Handed(event_id, n, here)
        for user_id in here:
            found = people[user_id]
            if type(found) is list:
                for connection in list(found):
                    self._hand(connection, event_id, frame)
                    connection.expect(batch)
            elif found.gate is None:  # type: ignore[union-attr]
                found.queue(frame)  # type: ignore[union-attr]
                found.expect(batch)  # type: ignore[union-attr]
            else:
                self._hand(found, event_id, frame)  # type: ignore[arg-type]
                found.expect(batch)  # type: ignore[union-attr]
        self.handed(batch)
        self.mark_unread(here)
        log.debug("frames_queued", event_id=event_id, people=len(here))

    def tell(self, user_id: int, frame: bytes) -> None:
        """Queue a frame that belongs to no event, such as `state`, for all tabs of a person."""
        for connection in self.of(user_id):
            self._hand(connection, 0, frame)

    def _hand(self, connection: Connection, event_id: int, frame: bytes) -> None:
        gate = connection.gate
        if gate is None or gate.lets_pass(event_id, frame):
            connection.queue(frame)
        elif gate.holds and len(gate.held or ()) > self._limits.held_frames:
            connection.close(codes.UNAVAILABLE, "too much arrived at once")

    def tail_has_read(self, tail_number: int) -> None:
        """Take away the gates that are no longer needed."""
        now, within = self._loop.now, self._limits.resume_within_seconds
        for connection in list(self._gated):
            gate = connection.gate
            if gate is None or gate.is_over(tail_number, now, within):
                connection.gate = None
                self._gated.discard(connection)
