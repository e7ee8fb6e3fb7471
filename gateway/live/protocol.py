"""What browsers may say: bytes → WebSocket frames → JSON → one handler per type.

Guarantees: whatever comes is answered with an `error` frame or a close code, never with a traceback;
memory per browser is bounded by one message; a flood is closed after a bucket of tokens (see Limits).
Never: waits. A handler that needs the database or Redis hands its work to a greenlet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed

from gateway.live import codes
from gateway.live.connection import Connection
from gateway.live.encoding import json_frame, pong_frame
from gateway.live.limits import Limits
from shared.errors import InvalidInput, NotificationError
from shared.ids import MAX_EVENT_ID

MAX_IDS = 500
MAX_CREDENTIAL = 8192  # characters
MAX_CURSOR = 100  # characters


class Services(Protocol):
    """What the handlers ask for; `Live` has it."""

    def authenticate(self, connection: Connection, ticket: str | None, token: str | None) -> None: ...
    def resume(self, connection: Connection, cursor: str, have: frozenset[int]) -> None: ...
    def read(self, connection: Connection, event_ids: list[int]) -> None: ...
    def seen(self, connection: Connection, event_ids: list[int]) -> None: ...
    def pong(self, connection: Connection) -> None: ...
    def heard(self, connection: Connection) -> None: ...


class Unfinished:
    """A frame or message of which only a part has come."""

    __slots__ = ("parser", "parts", "size")

    def __init__(self, parser: FrameProtocol) -> None:
        self.parser = parser
        self.parts: list[str] = []
        self.size = 0


class Reader:
    """Parses what browsers send. One parser serves all of them, but for those in mid-frame."""

    def __init__(self, limits: Limits, services: Services) -> None:
        self._limits = limits
        self._services = services
        self._spare: Unfinished | None = None

    def read(self, connection: Connection, data: bytes) -> None:
        """Take in bytes of one browser and do what its whole frames say."""
        message = connection.unfinished or self._take_spare()
        connection.unfinished = message
        message.parser.receive_bytes(data)
        try:
            for frame in message.parser.received_frames():
                self._take_frame(connection, message, frame)
                if connection.closing or connection.fd < 0:
                    connection.unfinished = None
                    return
        except ParseFailed as failure:
            connection.unfinished = None
            connection.close(int(failure.code), str(failure))
            return
        if not message.parts and _is_between_messages(message.parser):
            connection.unfinished = None
            self._spare = message

    def _take_spare(self) -> Unfinished:
        spare, self._spare = self._spare, None
        return spare or Unfinished(FrameProtocol(client=False, extensions=[]))

    def _take_frame(self, connection: Connection, message: Unfinished, frame: Any) -> None:
        if frame.frame_finished and not self._may_send(connection, 1):
            return
        if connection.unconfirmed is not None and frame.frame_finished and frame.opcode is not Opcode.CLOSE:
            self._services.heard(connection)
        if frame.opcode is Opcode.TEXT:
            message.parts.append(frame.payload)
            message.size += len(frame.payload.encode())
            if message.size > self._limits.message_bytes:
                connection.close(codes.TOO_BIG, f"over {self._limits.message_bytes} bytes")
            elif frame.message_finished:
                words = "".join(message.parts)
                message.parts.clear()
                message.size = 0
                self._take_message(connection, words)
        elif frame.opcode is Opcode.PING:
            connection.queue(pong_frame(frame.payload))
        elif frame.opcode is Opcode.CLOSE:
            connection.close(int(frame.payload[0]))
        elif frame.opcode is Opcode.BINARY:
            connection.close(codes.BINARY, "text only")

    def _take_message(self, connection: Connection, words: str) -> None:
        try:
            frame = _parse(words)
            if connection.cursor is None and frame["type"] not in BEFORE_CONNECTED:
                raise InvalidInput("type: expected authenticate, then wait for connected", field="type")
            HANDLERS[frame["type"]](self._services, connection, frame)
        except NotificationError as error:
            if self._may_send(connection, self._limits.refused_costs - 1):
                send_error(connection, error)

    def _may_send(self, connection: Connection, cost: int) -> bool:
        """Take tokens out of the connection's bucket; one that is empty closes the connection."""
        limits, now = self._limits, connection.loop.now
        if now != connection.tokens_at:
            gained = int((now - connection.tokens_at) * limits.tokens_per_second)
            if gained:
                connection.tokens = min(limits.tokens, connection.tokens + gained)
                connection.tokens_at = now
        connection.tokens -= cost
        if connection.tokens >= 0:
            return True
        connection.close(codes.FLOOD, "too many messages")
        return False


def send_error(connection: Connection, error: NotificationError) -> None:
    connection.queue(json_frame("error", **error.as_dict()))


def _is_between_messages(parser: FrameProtocol) -> bool:
    """Whether nothing of a frame or message is left in it, so that it can serve another connection.

    wsproto doesn't say; a parser and its generator per connection would cost 3 KiB each.
    """
    decoder = parser._frame_decoder
    return decoder.header is None and not decoder.buffer and parser._message_decoder.opcode is None


def _parse(words: str) -> dict[str, Any]:
    """A JSON object with a known type. Raises: InvalidInput."""
    try:
        frame = json.loads(words)
    except (ValueError, RecursionError):
        raise InvalidInput("message: expected a JSON object") from None
    if not isinstance(frame, dict):
        raise InvalidInput.field("message", frame, "a JSON object")
    kind = frame.get("type")
    if not isinstance(kind, str) or kind not in HANDLERS:
        raise InvalidInput.field("type", kind, " or ".join(HANDLERS))
    return frame


def _authenticate(services: Services, connection: Connection, frame: Mapping[str, Any]) -> None:
    given = [name for name in ("ticket", "token") if name in frame]
    if len(given) != 1:
        raise InvalidInput("authenticate: expected either ticket or token", given=given)
    credential = _text(frame, given[0], MAX_CREDENTIAL, secret=True)
    if given == ["ticket"]:
        services.authenticate(connection, credential, None)
    else:
        services.authenticate(connection, None, credential)


def _resume(services: Services, connection: Connection, frame: Mapping[str, Any]) -> None:
    have = frozenset(_ids(frame, "have") if "have" in frame else ())
    services.resume(connection, _text(frame, "cursor", MAX_CURSOR), have)


def _seen(services: Services, connection: Connection, frame: Mapping[str, Any]) -> None:
    services.seen(connection, _ids(frame, "ids"))


def _read(services: Services, connection: Connection, frame: Mapping[str, Any]) -> None:
    services.read(connection, _ids(frame, "ids"))


def _ping(services: Services, connection: Connection, frame: Mapping[str, Any]) -> None:
    services.pong(connection)


HANDLERS: dict[str, Callable[[Services, Connection, Mapping[str, Any]], None]] = {
    "ping": _ping,
    "authenticate": _authenticate,
    "resume": _resume,
    "seen": _seen,
    "read": _read,
}
BEFORE_CONNECTED = {"ping", "authenticate"}


def _text(frame: Mapping[str, Any], name: str, longest: int, *, secret: bool = False) -> str:
    value = frame.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        shown = "something else" if secret else value
        raise InvalidInput.field(name, shown, f"a text of 1 to {longest} characters")
    return value


def _ids(frame: Mapping[str, Any], name: str) -> list[int]:
    value = frame.get(name)
    if not isinstance(value, list) or len(value) > MAX_IDS:
        shown = f"{len(value)} of them" if isinstance(value, list) else value
        raise InvalidInput.field(name, shown, f"a list of at most {MAX_IDS} ids")
    for event_id in value:
        if type(event_id) is not int or not 0 < event_id <= MAX_EVENT_ID:
            raise InvalidInput.field(name, event_id, "ids that are positive integers below 2^53")
    return value
