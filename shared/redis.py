"""Connections to Redis or Valkey for pub/sub and tickets: every wait is bounded.

redis-py waits for ever by default; a server that accepts and says nothing would hang its caller.
"""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.settings import Settings

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0


def connect(settings: Settings, *, max_connections: int = 20) -> redis.Redis:
    """A client with a pool of its own. Connects at first use; answers are bytes.

    One retry, because a connection that idled through a restart of the server fails once.
    """
    client: redis.Redis = redis.Redis.from_url(
        settings.redis,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        socket_keepalive=True,
        max_connections=max_connections,
        retry=Retry(NoBackoff(), 1),
    )
    return client
