"""PostgreSQL: one engine per process, and the transaction that every door opens.

Nothing connects at import. A forked child makes an engine of its own. Work functions take
`session` first and never commit; only doors open a transaction, and none holds one over a
network wait.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from shared.settings import Settings, get_settings

CONNECT_SECONDS = 5
POOL_WAIT_SECONDS = 10

_engines: dict[tuple[int, str], Engine] = {}
_lock = threading.Lock()


def engine(settings: Settings | None = None) -> Engine:
    """The engine of this process for these settings (default: the environment's). Thread-safe."""
    settings = settings or get_settings()
    key = (os.getpid(), settings.database)
    with _lock:
        if key not in _engines:
            _engines[key] = make_engine(settings)
        return _engines[key]


def make_engine(settings: Settings) -> Engine:
    """An engine with a pool of DATABASE_POOL_SIZE connections, which dies of no idle disconnect."""
    return create_engine(
        settings.database,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,  # errors are logged; contents never are
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "options": "-c timezone=UTC",
            "application_name": "stagebloom",
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        },
    )


def _unlock_in_child() -> None:
    """A thread of the parent may have held the lock at the fork; in the child nobody would release it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


@contextmanager
def transaction(settings: Settings | None = None) -> Iterator[Session]:
    """A session that commits at the end of the block and rolls back when it raises."""
    with Session(engine(settings), expire_on_commit=False) as session, session.begin():
        yield session
