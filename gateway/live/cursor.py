"""Cursors: up to where a browser has everything, as a text that it hands back on `resume`.

`<installation>.<xmin>.<seconds>`: everything stored by transactions below xmin was there for the
browser when it got the cursor. Transactions commit out of order, so "newer than time T" would lose rows;
xmin can't (everything below it had ended). The seconds (since 2024, as in event ids) only say how old the
cursor is: beyond a day the batches that a replay needs may be gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.ids import EPOCH

LONGEST = timedelta(hours=24)
XMIN_DIGITS, SECONDS_DIGITS = 18, 10


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One view of the database: every transaction below `xmin` had ended; `at` is the server's clock."""

    xmin: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Cursor:
    """One object for all connections that get it together."""

    xmin: int
    text: str


class NoCursor(Exception):
    """This text can't be resumed from; the message is the reason of the `reset` frame."""


def as_one_snapshot(session: Session) -> None:
    """Make all statements of this read-only transaction see the same snapshot."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))


def read_snapshot(session: Session) -> Snapshot:
    """The snapshot of this session's transaction."""
    row = session.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text, clock_timestamp()")).one()
    return Snapshot(int(row[0]), row[1])


def cursor_at(snapshot: Snapshot, installation: str) -> Cursor:
    """The cursor of someone who has everything that this snapshot shows."""
    seconds = int((snapshot.at - EPOCH).total_seconds())
    return Cursor(snapshot.xmin, f"{installation[:8]}.{snapshot.xmin}.{seconds}")


def read_cursor(cursor: str, installation: str, now: Snapshot) -> int:
    """The xmin of a cursor's text. Raises: NoCursor when it is malformed, foreign or too old."""
    parts = cursor.split(".")
    if len(parts) != 3 or not _number(parts[1], XMIN_DIGITS) or not _number(parts[2], SECONDS_DIGITS):
        raise NoCursor("the cursor can't be read")
    if parts[0] != installation[:8]:
        raise NoCursor("the cursor is of another installation")
    xmin, given_at = int(parts[1]), EPOCH + timedelta(seconds=int(parts[2]))
    if xmin > now.xmin or given_at > now.at + timedelta(minutes=1):
        raise NoCursor("the cursor is of another database")
    if given_at < now.at - LONGEST:
        raise NoCursor("the cursor is older than a day")
    return xmin


def _number(value: str, longest: int) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= longest
