"""A WebSocket client that can misbehave: it sends any bytes, and reads only when told to."""

from __future__ import annotations

import json
import socket
import struct
import time
from types import TracebackType
from typing import Any, Self

from tests.swarm import CLOSE, PATH, TEXT, client_frame, handshake, server_frame

WAIT_SECONDS = 15.0
CONTINUATION, BINARY = 0, 2


class RawClient:
    """One socket after (or before) its handshake."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.address = ("127.0.0.1", port)
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(WAIT_SECONDS)
        self.sock.connect(self.address)
        self.data = b""

    def upgrade(self, token: str | None = None, *, behind: bytes = b"", **headers: str) -> str:
        """Send the handshake, and `behind` in the same packet; the answer's head."""
        return self._head_after(handshake(self.address, token, **headers) + behind)

    def ask(self, headers: dict[str, str], *, behind: bytes = b"") -> str:
        """Send a handshake with exactly these headers; the answer's head."""
        lines = [f"GET {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        return self._head_after(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + behind)

    def _head_after(self, request: bytes) -> str:
        self.sock.sendall(request)
        while b"\r\n\r\n" not in self.data:
            self._more()
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        return head.decode()

    def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Raises: EOFError when the gateway has ended."""
        while (found := server_frame(self.data)) is None:
            self._more()
        opcode, payload, self.data = found
        return opcode, payload

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The next text frame of this type."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            opcode, payload = self.frame()
            if opcode == CLOSE:
                raise AssertionError(f"closed with {payload!r} before any {kind}")
            if opcode == TEXT and (frame := json.loads(payload))["type"] == kind:
                return dict(frame)
        raise AssertionError(f"no {kind}")

    def wait_closed(self) -> int:
        """The code the gateway closes with; 1006 when it just ends."""
        try:
            while True:
                opcode, payload = self.frame()
                if opcode == CLOSE:
                    return int(struct.unpack("!H", payload[:2])[0]) if payload else 1005
        except (EOFError, ConnectionError):
            return 1006

    def send(self, opcode: int, payload: bytes = b"", *, is_last: bool = True) -> None:
        self.sock.sendall(client_frame(opcode, payload, is_last=is_last))

    def say(self, **frame: Any) -> None:
        self.send(TEXT, json.dumps(frame).encode())

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.data += data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()
