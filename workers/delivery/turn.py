"""One worker's turn with a channel: claim → send → record, until nothing is due or its time is over.

No database session is held while a provider is waited for. Each outcome is recorded at once, so that a
worker that is killed leaves at most one message of which nobody knows whether the provider has it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from shared.database import transaction
from shared.doorbell import ring
from shared.logs import get_logger
from shared.texts import one_line
from workers.delivery import claiming
from workers.delivery.channel import Channel, ChannelDown, Outcome, retry
from workers.delivery.claiming import Claim

TURN_SECONDS = 30  # then the bell is rung again: the process is free for the other channel in between
# Of the task, above a turn and the longest message that began at its end; below the lease of a claim.
SOFT_LIMIT_SECONDS, HARD_LIMIT_SECONDS = 100, 110

# What a server says: its code, and the enhanced one of RFC 3463.
CODE = re.compile(r"\d{3}(?:[ -]\d\.\d{1,3}\.\d{1,3})?(?= |$)")
ADDRESS = re.compile(r"\S*@\S*")
CAUSE_CHARACTERS = 200

log = get_logger("deliveries")


def take_turn(channel: Channel) -> None:
    """Send what is due. Wakes a colleague when there is enough for two."""
    deadline = time.monotonic() + TURN_SECONDS
    has_rung = False
    while time.monotonic() < deadline:
        with transaction() as session:
            held = claiming.claim(session, channel)
            rows = channel.load(session, list(held.attempts)) if held else []
        if held is None:
            return
        if not has_rung and channel.senders > 1 and len(held.attempts) == channel.batch_size:
            has_rung = ring(channel.door)
        if not _send(channel, held, rows, deadline):
            return
    ring(channel.door)


def _send(channel: Channel, held: Claim, rows: Sequence[Any], deadline: float) -> bool:
    """Send a claim; False when the turn is over. Whatever was not tried is given back."""
    left = [row.delivery_id for row in rows]
    down: str | None = None
    is_over = has_answered = False
    with closing(channel.send(rows)) as outcomes:  # its end is that of the provider's session, whatever fails here
        while left and not is_over and time.monotonic() < deadline:
            try:
                delivery_id, outcome = next(outcomes)
            except ChannelDown as error:
                down, is_over = str(error), True
                delivery_id, outcome = left[0], retry(down)
            except Exception as error:  # a fault of ours, or the task's time is over: this one is to blame
                log.exception("delivery_crashed", channel=channel.name, delivery_id=left[0])
                is_over = True
                delivery_id, outcome = left[0], retry(f"{type(error).__name__}: {error}")
            left.remove(delivery_id)
            with transaction() as session:
                outcome = claiming.record(session, held, delivery_id, outcome)
                if not (is_over or has_answered or outcome.status == "skipped"):
                    claiming.works(session, channel.name)
                    has_answered = True
            _tell(channel, delivery_id, outcome)
    with transaction() as session:
        claiming.give_back(session, held, left)
        failures = claiming.rest(session, channel.name, down) if down is not None else 0
    if failures:
        log.warning("channel_rests", channel=channel.name, failures=failures, cause=cause(down))
    return not is_over


def _tell(channel: Channel, delivery_id: int, outcome: Outcome) -> None:
    """One line per outcome; what the provider said may name people or repeat contents, so it stands in the table only."""
    say = log.warning if outcome.status in ("pending", "failed") else log.info
    status = "retried" if outcome.status == "pending" else outcome.status
    why = {"reason": outcome.reason, "cause": cause(outcome.error)}
    given = {key: value for key, value in why.items() if value is not None}
    say(f"delivery_{status}", channel=channel.name, delivery_id=delivery_id, **given)


def cause(error: str | None) -> str | None:
    """Of what a provider said its code alone, of a connection that failed the error; no address of anybody."""
    if error is None:
        return None
    said = CODE.match(error)
    return said[0] if said else ADDRESS.sub("…@…", one_line(error))[:CAUSE_CHARACTERS]
