"""The earlier system's database: read in one transaction, in order, a chunk at a time; never written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Table, func, select

from shared.importing.mapping import Mapping
from shared.importing.opening import naming_the_source, open_database, read_bytes
from shared.importing.queries import Query, Tables, is_one_of
from shared.importing.rules import Refused

CHUNK = 5000  # rows written in one transaction: well under a second


@contextmanager
def open_source(address: str, mapping: Mapping) -> Iterator[DjangoSource]:
    """Open the database at `address`: postgresql://… or sqlite:///file. Raises: InvalidInput, Unavailable."""
    with open_database(address) as connection:
        yield DjangoSource(connection, mapping)


class DjangoSource:
    """An open database of the earlier system. Whatever it is asked may raise Unavailable."""

    def __init__(self, connection: Connection, mapping: Mapping) -> None:
        """Looks for every table and column at once. Raises: InvalidInput naming the option."""
        self._connection = connection
        with naming_the_source():
            self._tables = Tables(connection, mapping)
            self._people = self._tables.people()
            self._notifications, self._recipient = self._tables.all_notifications()
            self._events = self._tables.events()
            self._templates = self._tables.templates()
        self._codec = read_bytes(connection)

    @property
    def missing(self) -> list[str]:
        """Tables and columns that are not there and count as empty: each its option and the name looked for."""
        return list(self._tables.missing)

    def count_people(self) -> int:
        return self._count(self._tables.users)

    def count_notifications(self) -> int:
        return self._count(self._tables.notifications)

    def people(self) -> Iterator[list[Any]]:
        """Chunks of people in the order of their ids.

        Each has id, username, first_name, last_name, email, is_active, role, stage and `stage_is_there`, which
        is false where the stage's row is gone.
        """
        return self._chunks(self._people)

    def notifications(self, *, of_people: list[Any] | None = None) -> Iterator[list[Any]]:
        """Chunks of notifications, oldest first; of some people (by `id`, as `people` gives it), or all.

        Each has id, person, title, message, type, is_read, read_at, created_at and event. `person` is the
        recipient's id, None where nobody has it.
        """
        query = self._notifications
        return self._chunks(query if of_people is None else query.where(is_one_of(self._recipient, of_people)))

    def events(self, ids: list[Any]) -> list[Any]:
        """Those with these ids: id, event_type, data (JSON as text; None where it is far too long) and data_length."""
        if self._events is None or not ids:
            return []
        query, identity = self._events
        return self._rows(query.where(is_one_of(identity, ids)))

    def templates(self) -> list[Any]:
        """All of them: id, name, title, message. Raises: Refused when one of their columns isn't there."""
        if isinstance(self._templates, Refused):
            raise self._templates
        return [] if self._templates is None else self._rows(self._templates)

    def _count(self, of: Table) -> int:
        with naming_the_source():
            return int(self._connection.scalar(select(func.count()).select_from(of)) or 0)

    def _rows(self, query: Query) -> list[Any]:
        return [row for rows in self._chunks(query) for row in rows]

    def _chunks(self, query: Query) -> Iterator[list[Any]]:
        with naming_the_source():
            chunks = self._connection.execute(query, execution_options={"yield_per": CHUNK}).partitions()
        while True:
            with naming_the_source():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield list(chunk) if self._codec is None else [_decoded(row, self._codec) for row in chunk]


def _decoded(row: Any, codec: str) -> Any:
    """What is none of the encoding becomes a text that can't be stored, which refuses its row alone."""
    values = (one.decode(codec, "surrogateescape") if isinstance(one, bytes) else one for one in row)
    return SimpleNamespace(**dict(zip(row._fields, values, strict=True)))
