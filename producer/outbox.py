"""Step ②: the workers are woken when the caller's transaction commits, and only then.

The outbox is the pending row itself: whatever happens to the ring, the sweep finds the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Mapper, Session, scoped_session

from shared.doorbell import ring
from shared.settings import Settings

RINGS = "notification_rings"  # in session.info: the tasks to ring for, with their settings


def own_session(session: Session | scoped_session[Session] | None) -> Session | None:
    """The session itself; of a scoped one, that of the thread which asks."""
    return session() if isinstance(session, scoped_session) else session


@contextmanager
def joined(session: Session, mapper: Mapper[Any]) -> Iterator[Session]:
    """A session of our own in the caller's transaction: usable while theirs is flushing, and nothing of
    ours stays in theirs. All of it is in one savepoint; it commits nothing."""
    connection = session.connection(bind_arguments={"mapper": mapper})
    with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as inner, inner.begin():
        yield inner


def ring_after_commit(session: Session, task: str, settings: Settings) -> None:
    """Ring for `task` once the session's outermost transaction is committed; never after a rollback."""
    if RINGS not in session.info:
        session.info[RINGS] = {}
        event.listen(session, "after_commit", _ring)
        event.listen(session, "after_rollback", _forget)
    session.info[RINGS][task] = settings


def _ring(session: Session) -> None:
    if session.in_nested_transaction():  # a savepoint was released; the transaction may yet be rolled back
        return
    waiting, session.info[RINGS] = session.info[RINGS], {}
    for task, settings in waiting.items():
        ring(task, settings)


def _forget(session: Session) -> None:
    if session.in_nested_transaction():  # to a savepoint: what was recorded before it may yet be committed
        return
    session.info[RINGS].clear()
