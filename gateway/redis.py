"""Redis for requests: tickets and announcements. No request waits more than about a second for it.

The live part has a connection of its own; these are many short uses, so a pool whose users wait for
each other instead of failing when a thousand browsers come back at once.
"""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.settings import Settings

ANSWER_SECONDS = 1.0
POOL_SIZE = 10
POOL_WAIT_SECONDS = 2.0


def connect(settings: Settings) -> redis.Redis:
    """A client that connects at first use. Answers are bytes. Thread-safe."""
    pool = redis.BlockingConnectionPool.from_url(
        settings.redis,
        max_connections=POOL_SIZE,
        timeout=POOL_WAIT_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        socket_keepalive=True,
        retry=Retry(
            NoBackoff(), 1, supported_errors=(redis.ConnectionError,)
        ),  # one idled through a restart; no second wait
    )
    return redis.Redis(connection_pool=pool)
