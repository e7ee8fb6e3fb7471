"""A bound for a whole conversation: a socket's own timeout starts anew with every byte that drips in."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

AGAIN_SECONDS = 0.2


class Deadline:
    """Within this block, the connection is cut off when `seconds` are over; whoever waits for it gets an error.

    `find_socket` is asked then, from another thread, and again until the block is left: while a connection is
    made, and while TLS begins, there is none that could be cut.
    """

    def __init__(self, seconds: float, find_socket: Callable[[], socket.socket | None]) -> None:
        self._find_socket = find_socket
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def _cut(self) -> None:
        while not self._timer.finished.is_set():
            found = self._find_socket()
            if found is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(found, socket.SHUT_RDWR)  # under TLS too: no farewell is waited for
            self._timer.finished.wait(AGAIN_SECONDS)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
