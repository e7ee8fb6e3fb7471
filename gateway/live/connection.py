"""Step ⑥, its last metre: one browser's parked socket and the only writer to it.

Guarantees: only whole frames, in the order they were queued; a socket that takes nothing costs at most
its bounded buffer and delays nobody; what is queued between two flushes leaves in one write.
Never: blocks, raises, or knows what a frame says.

There are thousands of these, so everything that most of them don't need at a given moment (a buffer, a
half-received frame, a gate) is a separate object that exists only meanwhile.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.live import codes
from gateway.live.encoding import close_frame

if TYPE_CHECKING:
    from gateway.live.cursor import Cursor
    from gateway.live.deliveries import Handed
    from gateway.live.gate import Gate
    from gateway.live.loop import LiveLoop
    from gateway.live.protocol import Unfinished

WRITE_AT_ONCE_BYTES = 64 * 1024  # per wake-up of a slow socket, so that it can't hold up the others
MOST_UNCONFIRMED = 500  # batches remembered until the browser says something; further ones are not counted


class Connection:
    """A parked socket. All methods are called from the gateway's one event loop."""

    __slots__ = (
        "backlog",  # Backlog | None: what the socket would not take yet
        "closing",  # a close frame is queued or written: nothing may follow
        "cursor",  # Cursor | None: the last one this browser was given
        "expires_at",  # of the credential, seconds since 1970; 0.0 before there is one
        "fd",  # -1 once closed
        "gate",  # Gate | None: stands between hub and socket until the browser has caught up
        "heard_at",  # loop time of the last bytes
        "loop",
        "number",  # its row in websocket_connections; 0 while it has none
        "outgoing",  # bytes, or a list of them, queued since the last flush
        "pinged",  # we have asked since
        "reader",  # gevent's io watcher
        "roles",  # of the person; None until they are known
        "tokens",  # what the browser may still send, see Limits
        "tokens_at",
        "unconfirmed",  # Handed, a list of them, or None: written since the browser last said something
        "unfinished",  # Unfinished | None: a frame or message of which a part has come
        "user_id",  # 0 until the person is known
    )

    def __init__(self, loop: LiveLoop, fd: int) -> None:
        self.loop = loop
        self.fd = fd
        self.reader: Any = None
        self.outgoing: bytes | list[bytes] | None = None
        self.backlog: Backlog | None = None
        self.unfinished: Unfinished | None = None
        self.unconfirmed: Handed | list[Handed] | None = None
        self.gate: Gate | None = None
        self.closing = False
        self.pinged = False
        self.user_id = 0
        self.number = 0
        self.roles: tuple[str, ...] | None = None
        self.cursor: Cursor | None = None
        self.expires_at = 0.0
        self.heard_at = loop.now
        self.tokens = loop.limits.tokens
        self.tokens_at = loop.now

    def queue(self, frame: bytes) -> None:
        """Queue a whole frame; it leaves with the next flush, of this connection or of the loop."""
        if self.closing:
            return
        outgoing = self.outgoing
        if outgoing is None:
            self.outgoing = frame
            self.loop.touched.append(self)
        elif isinstance(outgoing, bytes):
            self.outgoing = [outgoing, frame]
        else:
            outgoing.append(frame)

    def expect(self, batch: Handed) -> None:
        """What was queued is of this batch: the next frame of the browser confirms it."""
        waiting = self.unconfirmed
        if waiting is None:
            self.unconfirmed = batch
        elif not isinstance(waiting, list):
            self.unconfirmed = [waiting, batch]
        elif len(waiting) < MOST_UNCONFIRMED:
            waiting.append(batch)

    def flush(self, extra_bytes: int = 0) -> None:
        """Write what is queued; what the socket won't take waits in the buffer.

        `extra_bytes` widens the buffer for a replay, which the browser itself has asked for.
        """
        outgoing = self.outgoing
        if outgoing is None or self.fd < 0:
            return
        self.outgoing = None
        if isinstance(outgoing, bytes):
            data, frames = outgoing, [outgoing]
        else:
            data, frames = b"".join(outgoing), outgoing
        if self.backlog is None:
            try:
                written = os.write(self.fd, data)
            except BlockingIOError:
                written = 0
            except OSError:
                self.loop.drop(self)
                return
            if written == len(data):
                if self.closing:
                    self.loop.half_close(self)
                return
            self.backlog = Backlog(self)
            self.backlog.written = written
        self.backlog.limit += extra_bytes
        self.backlog.add(self, frames)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye and let go of the socket; the person is away from this moment on."""
        if self.closing or self.fd < 0:
            return
        frame = close_frame(code, reason)
        self.loop.says_goodbye(self, code, reason)
        if code == codes.TOO_SLOW:
            self.outgoing = None
            if self.backlog is not None:
                self.backlog.keep_only_started()
        self.queue(frame)
        self.closing = True
        self.flush()


class Backlog:
    """Frames that a full socket has not taken yet, with a watcher that says when it can."""

    __slots__ = ("frames", "limit", "progress_at", "size", "watcher", "written")

    def __init__(self, connection: Connection) -> None:
        loop = connection.loop
        self.frames: deque[bytes] = deque()
        self.size = 0  # bytes still to write
        self.written = 0  # of the first frame, already on the wire
        self.limit = loop.limits.buffer_bytes
        self.progress_at = loop.now
        self.watcher = loop.watch_writes(connection)

    def add(self, connection: Connection, frames: Any) -> None:
        """Take frames over; a connection that exceeds its buffer is closed with "come back"."""
        self.frames.extend(frames)
        self.size += sum(map(len, frames))
        while self.frames and self.written >= len(self.frames[0]):
            self._first_is_out()
        if self.size - self.written > self.limit and not connection.closing:
            connection.close(codes.TOO_SLOW, "reading too slowly")

    def write(self, connection: Connection) -> None:
        """The socket can take something again."""
        budget = WRITE_AT_ONCE_BYTES
        while self.frames and budget > 0:
            rest = memoryview(self.frames[0])[self.written :]
            try:
                count = os.write(connection.fd, rest)
            except BlockingIOError:
                return
            except OSError:
                connection.loop.drop(connection)
                return
            budget -= count
            self.written += count
            self.progress_at = connection.loop.now
            if self.written == len(self.frames[0]):
                self._first_is_out()
        if not self.frames:
            connection.backlog = None
            connection.loop.unwatch_writes(connection, self.watcher)
            if connection.closing:
                connection.loop.half_close(connection)

    def keep_only_started(self) -> None:
        """Forget all but the frame of which a part is on the wire: a frame can't be taken back."""
        started = [self.frames[0]] if self.frames and self.written else []
        self.frames = deque(started)
        self.size = sum(map(len, started))

    def _first_is_out(self) -> None:
        first = self.frames.popleft()
        self.size -= len(first)
        self.written -= len(first)
