"""How a task becomes a door: a message wakes it, and a server that is away ends it with a line.

A task that is killed, or finds a server away, is not tried again by the broker: what it left is found
by the next ring or by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
from sqlalchemy.exc import OperationalError

from shared.logs import get_logger
from workers.app import app

log = get_logger("workers")


def door(name: str, **options: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A task. A server that is away, or a collision of two workers, ends it with a line and is nobody's fault.

    `options` are Celery's, such as time limits.
    """

    def decorate(work: Callable[[], None]) -> Callable[[], None]:
        @wraps(work)
        def run() -> None:
            try:
                work()
            except OperationalError as error:
                log.warning("database_away", task=name, error=str(error.orig).strip().partition("\n")[0])
            except redis.RedisError as error:
                log.warning("redis_away", task=name, error=str(error))

        return app.task(name=name, **options)(run)

    return decorate
