"""Messages between workers and gateways: what goes in comes out, and rubbish is refused."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.frames import encode
from shared.topics import BatchMessage, LiveMessage, PeopleMessage, StateMessage, decode, live_topic

MESSAGES: list[LiveMessage] = [
    BatchMessage(
        event_id=(1 << 53) - 1, n=0, recipient_ids=[1, 2**62], frame=encode({"title": "é\n\u2028", "b": "\x00"})
    ),
    BatchMessage(event_id=1, n=7, recipient_ids=[], frame=b""),
    BatchMessage(event_id=1, n=7, recipient_ids=list(range(1000)), frame=b"\n\nB[1]\n"),
    StateMessage(user_ids=[7]),
    StateMessage(user_ids=[7, 8], read=[1], seen=[2, 3], deleted=[4], all_read=True, cleared=True),
    PeopleMessage(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_what_is_sent_is_what_arrives(message: LiveMessage) -> None:
    assert decode(message.encode()) == message


def test_a_frame_passes_as_the_very_same_bytes() -> None:
    frame = bytes(range(256))
    arrived = decode(BatchMessage(1, 0, [1], frame).encode())
    assert isinstance(arrived, BatchMessage)
    assert arrived.frame == frame


@pytest.mark.parametrize(
    "rubbish",
    [
        b"", b"X", b"PP", b"P ", b"B", b"S", b"B\n", b"B[]\n", b"B[1,2]\n", b"B[1,2,3]\n", b'B"abc"\n', b'B[1,"2",[]]\n', b"B{}\n", b"Bnull\n",
        b"S[]", b"S{}", b"Snull", b'S{"user_ids":7}', b'S{"user_ids":[7],"read":null}', b'S{"user_ids":[7],"unknown":1}', b'{"type":"pong"}',
        b"\xff\xfe", b"B\xff\n", b"S\xff", b"S" + b"[" * 100_000, b"B" + b"[" * 100_000,
    ],
)  # fmt: skip
def test_rubbish_is_refused_and_nothing_else_happens(rubbish: bytes) -> None:
    with pytest.raises(InvalidInput, match="live message"):
        decode(rubbish)


def test_a_state_frame_says_only_what_changed() -> None:
    assert StateMessage([7], read=[1], all_read=True).changes() == {"read": [1], "all_read": True}
    assert StateMessage([7]).changes() == {}


def test_two_messages_share_no_lists() -> None:
    StateMessage([1]).read.append(7)
    assert StateMessage([1]).read == []


def test_two_installations_never_share_a_topic() -> None:
    assert live_topic("a") != live_topic("b")
    assert "a" in live_topic("a")
