"""A browser's WebSocket for tests: websockets' own client, which is none of the code under test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_socket

PATH = "/ws/notifications/"
WAIT_SECONDS = 15.0

SHOWN = ("notification", "role_notification", "system_message")  # the frames that hold a notification

Frame = dict[str, Any]


class LiveClient:
    """One WebSocket. `received` holds every frame so far, in order, also those that were waited for."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[Frame] = []
        self._looked_at = 0

    def send(self, **frame: Any) -> None:
        """Send a frame: `client.send(type="ping")`."""
        self.socket.send(json.dumps(frame))

    def wait_for(
        self,
        kind: str | Collection[str],
        matching: Callable[[Frame], bool] = lambda frame: True,
        seconds: float = WAIT_SECONDS,
    ) -> Frame:
        """The next frame of this type (or one of these) not waited for before; others are kept in `received`."""
        kinds = (kind,) if isinstance(kind, str) else kind
        deadline = time.monotonic() + seconds
        while True:
            while self._looked_at < len(self.received):
                frame = self.received[self._looked_at]
                self._looked_at += 1
                if frame["type"] in kinds and matching(frame):
                    return frame
            if not self._receive(deadline - time.monotonic()):
                raise AssertionError(f"no {kind} within {seconds:g} s; received {self.received}")

    def settle(self) -> list[Frame]:
        """Everything that was under way before now: a ping, and all frames up to its pong."""
        before = len(self.received)
        self.send(type="ping")
        self.wait_for("pong")
        return self.received[before:]

    def titles(self) -> list[str]:
        """What the person was shown so far, in order."""
        return [frame["notification"]["title"] for frame in self.received if frame["type"] in SHOWN]

    def collect(self, kind: str) -> list[Frame]:
        """The frames of one type among those received."""
        return [frame for frame in self.received if frame["type"] == kind]

    def wait_closed(self, seconds: float = WAIT_SECONDS) -> int:
        """The code that the server closes with."""
        deadline = time.monotonic() + seconds
        try:
            while self._receive(deadline - time.monotonic()):
                pass
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        raise AssertionError(f"not closed within {seconds:g} s; received {self.received}")

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self, seconds: float) -> bool:
        try:
            self.received.append(json.loads(self.socket.recv(timeout=max(0.0, seconds))))
        except TimeoutError:
            return False
        return True


def connect(
    base_url: str, token: str | None = None, headers: dict[str, str] | None = None, origin: str | None = None
) -> LiveClient:
    """Open a WebSocket; with a token, as that person and with `connected` already received."""
    given = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
    address = base_url.replace("http", "ws", 1) + PATH
    socket = open_socket(
        address,
        additional_headers=given,
        origin=origin,  # type: ignore[arg-type]
        open_timeout=WAIT_SECONDS,
        ping_interval=None,
        legacy=True,  # a connection, not a context manager that reconnects
    )
    client = LiveClient(socket)
    if token:
        client.wait_for("connected")
    return client
