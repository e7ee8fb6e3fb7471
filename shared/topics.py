"""Step ⑤ to ⑥: the one Redis topic between workers and gateways, and the messages on it.

Messages are hints: whatever is lost is read again from PostgreSQL. One topic for all, because a
subscription per group could come a moment too late. The installation's id stands in its name, so
two installations that share a Redis never see each other's people.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from shared.errors import InvalidInput


def live_topic(installation_id: str) -> str:
    """The topic of one installation (`installation.id`)."""
    return f"stagebloom:{installation_id}:live"


@dataclass(slots=True)
class BatchMessage:
    """A stored batch: `frame` (UTF-8 JSON) goes to the sockets of `recipient_ids` (`users.id`)."""

    event_id: int
    n: int
    recipient_ids: list[int]
    frame: bytes

    def encode(self) -> bytes:
        head = json.dumps([self.event_id, self.n, self.recipient_ids], separators=(",", ":"))
        return b"B" + head.encode() + b"\n" + self.frame


@dataclass(slots=True)
class StateMessage:
    """Something changed in the inboxes of `user_ids`: their unread counts are computed anew.

    The lists hold event ids; `all_read` and `cleared` stand for everything up to now.
    """

    user_ids: list[int]
    read: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    deleted: list[int] = field(default_factory=list)
    all_read: bool = False
    cleared: bool = False

    def encode(self) -> bytes:
        return b"S" + json.dumps(asdict(self), separators=(",", ":")).encode()

    def changes(self) -> dict[str, list[int] | bool]:
        """What a `state` frame says of it: only what is set."""
        return {name: value for name, value in asdict(self).items() if name != "user_ids" and value}


@dataclass(slots=True)
class PeopleMessage:
    """A doorbell: people, roles or memberships changed; the gateway reads which from `users.changed_xid`."""

    def encode(self) -> bytes:
        return b"P"


LiveMessage = BatchMessage | StateMessage | PeopleMessage


def decode(payload: bytes) -> LiveMessage:
    """The message in a payload. Raises: InvalidInput for anything else."""
    kind = payload[:1]
    try:
        if kind == b"B":
            head, _, frame = payload[1:].partition(b"\n")
            event_id, n, recipient_ids = json.loads(head)
            if isinstance(event_id, int) and isinstance(n, int) and isinstance(recipient_ids, list):
                return BatchMessage(event_id, n, recipient_ids, frame)
        if kind == b"S":
            state = StateMessage(**json.loads(payload[1:]))
            if all(isinstance(ids, list) for ids in (state.user_ids, state.read, state.seen, state.deleted)):
                return state
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidInput(f"live message can't be read: {error}") from None
    if payload == b"P":
        return PeopleMessage()
    raise InvalidInput.field("live message", payload[:20], "a kind of B, S or P")
