"""What a channel is: a name, what it reads in one go, and how it sends that.

A new channel is one file: a class with these names, its row in `delivery_channels`, a door that takes
a turn with it, and something that plans deliveries for it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.orm import Session

# Why a delivery is skipped or failed, and what to do about it: docs/deliveries.md.
CONFIRMED, DELETED, INACTIVE = "confirmed", "deleted", "inactive"
NO_ADDRESS, BAD_ADDRESS, NEEDS_SMTPUTF8 = "no_address", "bad_address", "needs_smtputf8"
REFUSED, PRIVATE_ADDRESS, GONE, TRIED_TOO_OFTEN = "refused", "private_address", "gone", "tried_too_often"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one delivery at one try. `error` is what the provider said, for the table only.

    `not_before_seconds`: the provider asked to be left alone for so long.
    """

    status: str  # sent, skipped, failed, or pending: try again
    reason: str | None = None
    error: str | None = None
    provider_id: str | None = None
    not_before_seconds: float = 0


def sent(provider_id: str | None = None) -> Outcome:
    """The provider has it."""
    return Outcome("sent", provider_id=provider_id)


def skipped(reason: str) -> Outcome:
    """It need not, or can't, be sent; no provider was asked."""
    return Outcome("skipped", reason)


def failed(reason: str, error: str) -> Outcome:
    """Another try would end the same way."""
    return Outcome("failed", reason, error)


def retry(error: str, not_before_seconds: float = 0) -> Outcome:
    """Another try may succeed, after so long at the earliest."""
    return Outcome("pending", error=error, not_before_seconds=not_before_seconds)


class ChannelDown(Exception):
    """The provider can't be used by anyone now: the rest of the claim is given back untried."""


class Channel(Protocol):
    """`senders` at a time, each with `batch_size` deliveries; `ordered` ones go one by one, oldest event first."""

    name: str
    door: str
    senders: int
    batch_size: int
    ordered: bool

    def load(self, session: Session, delivery_ids: Sequence[int]) -> list[Any]:
        """A row for each delivery with all that sending needs, `delivery_id` among it; in order of sending."""
        ...

    def send(self, rows: Sequence[Any]) -> Generator[tuple[int, Outcome], None, None]:
        """Send one after another, without a database: (delivery id, outcome). Raises: ChannelDown."""
        ...
