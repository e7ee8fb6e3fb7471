"""Step ⑦, its echo: tell the gateways that a person's notifications changed, so that other tabs follow.

A hint, sent after the commit. When Redis is away it is lost with a line in the log, never an error:
the change stands in PostgreSQL, and each tab reads it when it loads afresh.
"""

from __future__ import annotations

import time

import redis

from gateway.auth import Authenticator
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.topics import StateMessage, live_topic

REST_SECONDS = 5.0  # after a failure nobody waits for Redis again that long

log = get_logger("inbox")


class Announcer:
    """Publishes the state changes that requests of this process make."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._silent_until = 0.0

    def announce(self, message: StateMessage) -> bool:
        """Publish; whether Redis took it."""
        if time.monotonic() < self._silent_until:
            return False
        try:
            topic = live_topic(self._authenticator.installation_id())
            self._authenticator.redis.publish(topic, message.encode())
        except (redis.RedisError, Unavailable) as error:
            self._silent_until = time.monotonic() + REST_SECONDS
            log.warning("state_not_announced", people=len(message.user_ids), error=type(error).__name__)
            return False
        return True
