"""Server frames as bytes. wsproto writes them; each is made once and shared by all its receivers."""

from __future__ import annotations

from typing import Any, Literal

from wsproto.frame_protocol import CloseReason, FrameProtocol

from shared.frames import encode

# What the gateway says by itself; notifications come encoded, each of a kind in `shared.frames.KINDS`.
Kind = Literal["connected", "state", "pong", "resumed", "reset", "error"]

_server = FrameProtocol(client=False, extensions=[])

PING = bytes(_server.ping())


def json_frame(kind: Kind, /, **fields: Any) -> bytes:
    """A whole frame of this type, with these fields."""
    return text_frame(encode({"type": kind, **fields}))


def text_frame(payload: bytes) -> bytes:
    """A whole, unmasked text frame around UTF-8 JSON."""
    return bytes(_server.send_data(payload.decode()))


def pong_frame(payload: bytes) -> bytes:
    return bytes(_server.pong(payload))


def close_frame(code: int, reason: str = "") -> bytes:
    """A close frame; the codes that may not stand on the wire become an empty one."""
    if code in (CloseReason.NO_STATUS_RCVD, CloseReason.ABNORMAL_CLOSURE):
        return bytes(_server.close())
    return bytes(_server.close(code, reason))
