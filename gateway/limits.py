"""How much one person may send and ask over HTTP.

Sends are counted in Redis, so that all gateways count together; requests, of which there are many, in this
process (0.2 ms instead of 2.5 on a busy machine), so each gateway allows as many. Both by a sliding window
of one second (the `limits` library's counter: two numbers a person, whatever the rate). Services are not limited: what they send waits in PostgreSQL, like a producer's. Without Redis
nothing is refused; the log says so.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import redis
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from gateway.people import Person
from shared.errors import RateLimited, Unavailable
from shared.logs import get_logger
from shared.settings import Settings

if TYPE_CHECKING:
    from gateway.auth import Authenticator

OTHER_ROLES = "*"  # in SEND_LIMITS
PREFIX = "stagebloom-limits"  # and the installation: several may share a Redis
REST_SECONDS = 5.0  # after a failure nobody waits for Redis again that long

log = get_logger("limits")


class RateLimits:
    """The limits of one installation. Connects at first use; thread-safe."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._settings = authenticator.settings
        self._sends: SlidingWindowCounterRateLimiter | None = None
        self._requests: SlidingWindowCounterRateLimiter | None = None
        self._silent_until = 0.0

    def count_request(self, person: Person) -> None:
        """Count a REST request. Raises: RateLimited beyond API_LIMIT."""
        if self._settings.api_limit:
            self._requests = self._requests or SlidingWindowCounterRateLimiter(MemoryStorage())
            _hit(self._requests, "ask", person, self._settings.api_limit)

    def count_send(self, person: Person) -> None:
        """Count a send. Raises: RateLimited beyond what SEND_LIMITS says for the person's roles."""
        per_second = send_limit(self._settings, person)
        if not per_second or time.monotonic() < self._silent_until:
            return
        try:
            _hit(self._connected(), "send", person, per_second)
        except (redis.RedisError, Unavailable) as error:
            self._silent_until = time.monotonic() + REST_SECONDS
            log.warning("limits_not_counted", error=type(error).__name__)

    def _connected(self) -> SlidingWindowCounterRateLimiter:
        if self._sends is None:
            storage = RedisStorage(
                "redis://",  # the pool knows the address
                connection_pool=self._authenticator.redis.connection_pool,
                key_prefix=f"{PREFIX}:{self._authenticator.installation_id()}",
            )
            self._sends = SlidingWindowCounterRateLimiter(storage)
        return self._sends


def _hit(limiter: SlidingWindowCounterRateLimiter, what: str, person: Person, per_second: int) -> None:
    limit, names = RateLimitItemPerSecond(per_second), (what, str(person.id))
    if limiter.hit(limit, *names):
        return
    seconds = max(1, math.ceil(limiter.get_window_stats(limit, *names).reset_time - time.time()))
    message = f"you may {what} {per_second} times a second; try again in {seconds} s"
    raise RateLimited(message, limit=what, per_second=per_second, retry_after_seconds=seconds)


def send_limit(settings: Settings, person: Person) -> int:
    """Sends a second that a person may make: the highest number of their roles; 0 is no limit."""
    rates = settings.send_limits
    numbers = [rates.get(role, rates.get(OTHER_ROLES, 0)) for role in person.roles]
    return 0 if 0 in numbers else max(numbers, default=0)
