"""What `stagebloom doctor` looks at: each check says what it found, what is wrong with it and how to mend it.

    servers.py     PostgreSQL, Redis, the broker: do they answer, is there room
    public.py      a real WebSocket through the address that browsers use
    people.py      roles that match nobody, people without a role
    pipeline.py    events and batches that stand still or failed, queues, duplicates and loops
    deliveries.py  mail and webhook: channels that rest, what waits for long or failed
    storage.py     indexes and partitions
    versions.py    clocks, versions, migrations

Checks only look. One that can't be made because a server is away says so and stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.errors import NotificationError
from shared.settings import Settings

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. A `note` is worth knowing; something `wrong` wants `remedy`."""

    check: str
    level: Level
    message: str
    remedy: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


Check = Callable[[Settings], Iterator[Finding]]


def fine(check: str, message: str, **details: Any) -> Finding:
    return Finding(check, "ok", message, details=details)


def note(check: str, message: str, remedy: str, **details: Any) -> Finding:
    return Finding(check, "note", message, remedy, details)


def wrong(check: str, message: str, remedy: str, **details: Any) -> Finding:
    return Finding(check, "wrong", message, remedy, details)


def looking(settings: Settings, look: Callable[[Session], Iterator[Finding]]) -> Iterator[Finding]:
    """Make a check inside one short, read-only transaction."""
    from sqlalchemy import text

    from shared.database import transaction

    with transaction(settings) as session:
        session.execute(text("SET TRANSACTION READ ONLY"))
        session.execute(text("SET LOCAL statement_timeout = '10s'"))
        yield from list(look(session))


def examine(settings: Settings) -> Iterator[Finding]:
    """Make every check, in the order of the list above."""
    from shared.doctor import deliveries, people, pipeline, public, servers, storage, versions

    is_database_away = False
    for name, check, needs_database in (
        ("PostgreSQL", servers.check_database, False),
        ("Redis", servers.check_redis, False),
        ("broker", servers.check_broker, False),
        ("WebSocket", public.check_websocket, False),
        ("versions", versions.check_versions, True),
        ("clock", versions.check_clock, True),
        ("roles", people.check_people, True),
        ("events", pipeline.check_events, True),
        ("deliveries", deliveries.check_deliveries, True),
        ("duplicates", pipeline.check_duplicates, True),
        ("indexes", storage.check_indexes, True),
        ("partitions", storage.check_partitions, True),
    ):
        if needs_database and is_database_away:
            continue  # said already, once
        for finding in _examine_one(name, check, settings):
            is_database_away |= name == "PostgreSQL" and finding.level == "wrong"
            yield finding


def _examine_one(name: str, check: Check, settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except NotificationError as error:
        yield wrong(name, error.message, "Mend what it says and look again.")
    except DBAPIError as error:
        yield wrong(
            name,
            f"PostgreSQL refused: {str(error.orig).strip().partition(chr(10))[0]}",
            "Run `stagebloom migrate`; if it stays, see PostgreSQL's log.",
        )
    except Exception as error:  # noqa: BLE001  # a check that fails must not hide what the others find; texts of drivers may hold passwords
        yield wrong(name, f"the check failed ({type(error).__name__})", "Run with LOG_LEVEL=DEBUG, and report it.")
