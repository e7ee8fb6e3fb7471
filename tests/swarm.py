"""A load client in one process: thousands of WebSockets on one epoll, offering compression as browsers do.

    with Swarm(port, tokens) as swarm:
        swarm.connect()                      # until each has its `connected` frame
        ...
        swarm.run_until(lambda: swarm.total >= len(tokens))

Speaks the few bytes of RFC 6455 that it needs by itself: a client library costs 100 KiB per connection.
"""

from __future__ import annotations

import contextlib
import json
import resource
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

PATH = "/ws/notifications/"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455's example
IN_FLIGHT = 256  # handshakes under way at once
READ_BYTES = 65536
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
NOTIFICATIONS = ("notification", "role_notification", "system_message")


@dataclass(slots=True)
class Member:
    """One connection of the swarm."""

    sock: socket.socket
    token: str
    buffer: bytes = b""
    is_open: bool = False  # the handshake is over
    is_connected: bool = False  # `connected` has come
    event_ids: list[int] = field(default_factory=list)
    closed_with: int | None = None


class Swarm:
    """Many browsers, each with the person of its token."""

    def __init__(self, port: int, tokens: Sequence[str], host: str = "127.0.0.1") -> None:
        self._address = (host, port)
        self._tokens = tokens
        self._epoll = select.epoll()
        self._by_fd: dict[int, Member] = {}
        self.members: list[Member] = []
        self.connected = 0
        self.total = 0  # notification frames, all connections together
        self.extensions_accepted = 0
        self.refused: list[str] = []

    def connect(self, seconds: float = 120.0) -> float:
        """Open all connections; the seconds it took until the last had its `connected`."""
        _allow_files(len(self._tokens) + 256)
        began = time.monotonic()
        while self.connected < len(self._tokens):
            while len(self.members) < min(len(self._tokens), self.connected + IN_FLIGHT):
                self._open(self._tokens[len(self.members)])
            self._step()
            if self.refused or time.monotonic() - began > seconds:
                raise AssertionError(f"{self.connected} connected; refused: {self.refused[:3]}")
        return time.monotonic() - began

    def run_until(self, is_true: Callable[[], bool], seconds: float = 60.0) -> float:
        """Receive until the condition holds; the seconds it took."""
        began = time.monotonic()
        while not is_true():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:g} s; {self.total} notifications so far")
            self._step()
        return time.monotonic() - began

    @property
    def duplicates(self) -> int:
        """Notifications that a connection got more than once."""
        return sum(len(m.event_ids) - len(set(m.event_ids)) for m in self.members)

    @property
    def lost(self) -> int:
        """Connections that the gateway closed."""
        return sum(m.closed_with is not None for m in self.members)

    def say(self, **frame: Any) -> None:
        """Every connection sends this frame."""
        data = client_frame(TEXT, json.dumps(frame).encode())
        for member in self.members:
            member.sock.send(data)

    def close(self) -> None:
        for member in self.members:
            member.sock.close()
        self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, token: str) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(self._address)
        sock.setblocking(False)
        sock.send(handshake(self._address, token))
        member = Member(sock, token)
        self.members.append(member)
        self._by_fd[sock.fileno()] = member
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _step(self) -> None:
        for fd, _ in self._epoll.poll(0.05):
            member = self._by_fd[fd]
            data = b""
            with contextlib.suppress(OSError):
                data = member.sock.recv(READ_BYTES)
            if data:
                self._take(member, member.buffer + data)
            else:
                self._epoll.unregister(fd)
                member.closed_with = member.closed_with or 1006
                if not member.is_open:
                    self.refused.append("closed during the handshake")

    def _take(self, member: Member, data: bytes) -> None:
        if not member.is_open:
            head, end, data_after = data.partition(b"\r\n\r\n")
            if not end:
                member.buffer = data
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.refused.append(head.decode(errors="replace"))
            self.extensions_accepted += b"sec-websocket-extensions" in head.lower()
            member.is_open, data = True, data_after
        while (frame := server_frame(data)) is not None:
            opcode, payload, data = frame
            self._act(member, opcode, payload)
        member.buffer = data

    def _act(self, member: Member, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            member.sock.send(client_frame(PONG, payload))
        elif opcode == CLOSE:
            member.closed_with = struct.unpack("!H", payload[:2])[0]
        elif opcode == TEXT:
            frame = json.loads(payload)
            if frame["type"] in NOTIFICATIONS:
                member.event_ids.append(frame["notification"]["id"])
                self.total += 1
            elif frame["type"] == "connected":
                member.is_connected = True
                self.connected += 1


def handshake(address: tuple[str, int], token: str | None = None, **headers: str) -> bytes:
    """A browser's request, compression offered."""
    host = f"{address[0]}:{address[1]}"
    lines = [
        f"GET {PATH} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        f"Origin: http://{host}",
        *([f"Authorization: Bearer {token}"] if token else []),
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def client_frame(opcode: int, payload: bytes = b"", *, is_last: bool = True) -> bytes:
    """A masked frame (with a mask of zeros, which needs no work)."""
    first = (0x80 if is_last else 0) | opcode
    if len(payload) < 126:
        head = bytes([first, 0x80 | len(payload)])
    elif len(payload) < 65536:
        head = bytes([first, 0x80 | 126]) + struct.pack("!H", len(payload))
    else:
        head = bytes([first, 0x80 | 127]) + struct.pack("!Q", len(payload))
    return head + b"\0\0\0\0" + payload


def server_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """The first whole frame: opcode, payload, and what follows it."""
    if len(data) < 2:
        return None
    size, start = data[1] & 0x7F, 2
    if size == 126:
        start = 4
    elif size == 127:
        start = 10
    if len(data) < start:
        return None
    if size >= 126:
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0] & 0x0F, data[start : start + size], data[start + size :]


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
