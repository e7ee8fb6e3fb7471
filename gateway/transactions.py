"""How a door of the gateway opens a transaction: bounded, tried again after a deadlock, never a traceback.

The work is a function that takes `session` and may run more than once: it changes nothing but the
database. Whatever keeps the database from answering becomes `Unavailable`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import exc, text
from sqlalchemy.orm import Session

from shared.database import transaction
from shared.errors import Unavailable
from shared.logs import get_logger
from shared.settings import Settings

STATEMENT_SECONDS = 15  # the longest honest one, counting a million notifications, takes under 1
SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
PAUSES_SECONDS = (0.02, 0.1)  # before the second and the third try

T = TypeVar("T")

_BOUND = text(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
_log = get_logger("gateway")


def in_transaction(settings: Settings, work: Callable[[Session], T]) -> T:
    """What `work(session)` returns, committed. Raises: Unavailable when the database can't, and what `work` raises."""
    for pause_seconds in (*PAUSES_SECONDS, None):
        try:
            with transaction(settings) as session:
                session.execute(_BOUND)
                return work(session)
        except (exc.DBAPIError, exc.TimeoutError) as error:
            state = getattr(getattr(error, "orig", None), "pgcode", None)
            if state in (SERIALIZATION_FAILURE, DEADLOCK) and pause_seconds is not None:
                time.sleep(pause_seconds * random.uniform(0.5, 1.5))
                continue
            if not _is_away(error, state):
                raise
            _log.warning("database unavailable", error=type(error).__name__, state=state)
            raise Unavailable("the database can't answer now; try again") from error
    raise AssertionError("the last try returns or raises")


def _is_away(error: Exception, state: str | None) -> bool:
    """Whether the server is at fault, not the statement: unreachable, stopping, too busy, too slow."""
    return state in (SERIALIZATION_FAILURE, DEADLOCK) or isinstance(
        error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError
    )
