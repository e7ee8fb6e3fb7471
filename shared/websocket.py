"""A WebSocket client for looking at the gateway from outside: `doctor` and `selftest`.

Small and blocking, on wsproto, which the gateway brings. Every wait is bounded.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from shared.errors import Unavailable

PATH = "/ws/notifications/"
WAIT_SECONDS = 10.0


class WebSocket:
    """One connection to `address` (http or https), as whom `token` names. A context manager.

    Raises: Unavailable saying which step failed: name, connection, certificate, handshake or answer.
    """

    def __init__(self, address: str, token: str | None = None, wait_seconds: float = WAIT_SECONDS) -> None:
        self._deadline = time.monotonic() + wait_seconds
        self._parts: list[str] = []
        parts = urlsplit(address)
        is_secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
        try:
            self._socket = socket.create_connection((host, port), timeout=wait_seconds)
            if is_secure:
                self._socket = ssl.create_default_context().wrap_socket(self._socket, server_hostname=host)
        except OSError as error:
            raise Unavailable(f"{host}:{port} can't be reached: {error}") from None
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._received: list[dict[str, Any]] = []
        headers = [(b"Authorization", f"Bearer {token}".encode())] if token else []
        self._write(Request(host=parts.netloc, target=PATH, extra_headers=headers))
        self._is_open = False
        while not self._is_open:
            self._read()

    def send(self, **frame: Any) -> None:
        """Send one frame."""
        self._write(TextMessage(data=json.dumps(frame)))

    def wait_for(self, kind: str, wait_seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """The next frame of this type; others before it are dropped. Raises: Unavailable."""
        self._deadline = time.monotonic() + wait_seconds
        while True:
            while self._received:
                frame = self._received.pop(0)
                if frame.get("type") == kind:
                    return frame
            self._read(f"no {kind} frame came")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, event: Any) -> None:
        try:
            self._socket.sendall(self._connection.send(event))
        except OSError as error:
            raise Unavailable(f"the connection broke: {error}") from None

    def _read(self, missing: str = "the handshake was not answered") -> None:
        left = self._deadline - time.monotonic()
        try:
            self._socket.settimeout(max(0.001, left))
            data = self._socket.recv(65_536)
        except TimeoutError:
            raise Unavailable(f"{missing} in time") from None
        except OSError as error:
            raise Unavailable(f"the connection broke: {error}") from None
        try:
            self._connection.receive_data(data or None)
            for event in self._connection.events():
                self._handle(event)
        except (ProtocolError, ValueError) as error:
            raise Unavailable(f"the answer is no WebSocket's: {error}") from None
        if not data:
            raise Unavailable(f"the connection was closed: {missing}")

    def _handle(self, event: Any) -> None:
        if isinstance(event, AcceptConnection):
            self._is_open = True
        elif isinstance(event, RejectConnection):
            raise Unavailable(f"the handshake was refused with HTTP {event.status_code}", status=event.status_code)
        elif isinstance(event, CloseConnection):
            raise Unavailable(f"the gateway closed with {event.code} {event.reason or ''}".rstrip(), code=event.code)
        elif isinstance(event, Ping):
            self._write(event.response())
        elif isinstance(event, Message):
            self._parts.append(str(event.data))
            if event.message_finished:
                self._received.append(json.loads("".join(self._parts)))
                self._parts.clear()
