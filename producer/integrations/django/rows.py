"""Looking at our tables as Django code looks at models: `WebSocketConnection.objects.filter(is_active=True).count()`.

For debugging at a shell: read-only, a few lookups, and an error that names them. Nothing is asked of the
database before rows are counted or read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import FromClause, Select, func, not_, select

from shared.database import transaction
from shared.directory import person_id
from shared.errors import InvalidInput

SHOWN = 20  # rows of a repr, as Django's
AT_A_TIME = 500  # rows in memory while iterating
EXPECTED = {
    bool: "True or False",
    int: "a number",
    str: "a text",
    dict: "a dictionary",
    datetime: "a datetime",
}
LOOKUPS = ("exact", "in", "gte", "lte")


@dataclass(frozen=True)
class Field:
    """A name that can be asked for, of a type and a column (or expression). `is_one_of`: how it is compared,
    unless its column simply is."""

    kind: type
    column: Any
    is_one_of: Callable[[Sequence[Any]], Any] | None = None

    def narrowed(self, name: str, lookup: str, value: Any) -> Any:
        """The condition of one lookup. Raises: InvalidInput for a value of another type."""
        values = [self._checked(name, one) for one in (value if lookup == "in" else [value])]
        if self.is_one_of is not None:
            return self.is_one_of(values)
        if lookup == "in":
            return self.column.in_(values)
        if lookup == "gte":
            return self.column >= values[0]
        if lookup == "lte":
            return self.column <= values[0]
        if self.kind is bool:
            return self.column if values[0] else not_(self.column)
        return self.column == values[0]

    def _checked(self, name: str, value: Any) -> Any:
        if self.kind is str and (type(value) is int or hasattr(value, "id")):  # as the application has people
            return person_id(value, name)
        if value is None or type(value) is self.kind:
            return value
        raise InvalidInput.field(name, value, EXPECTED[self.kind])


@dataclass(frozen=True)
class Rows:
    """Rows of one table, newest first, narrowed by lookups. Every method gives another, or reads.

    Raises: InvalidInput naming the known names for one that is not known.
    """

    name: str
    source: FromClause
    fields: Mapping[str, Field]
    order: Sequence[Any]
    where: tuple[Any, ...] = ()
    shown: tuple[str, ...] = ()

    def all(self) -> Rows:
        """All of them."""
        return self

    def filter(self, **lookups: Any) -> Rows:
        """Those for which all of it holds: `name=`, `name__in=`, `name__gte=`, `name__lte=`."""
        return replace(self, where=self.where + tuple(self._condition(key, value) for key, value in lookups.items()))

    def values(self, *names: str) -> Rows:
        """The same rows as dictionaries, of these names or of all."""
        for name in names:
            self._field(name, name)
        return replace(self, shown=names or tuple(self.fields))

    def count(self) -> int:
        """How many there are."""
        with transaction() as session:
            return int(session.scalar(select(func.count()).select_from(self.source).where(*self.where)) or 0)

    def exists(self) -> bool:
        """Whether there is one."""
        return self.first() is not None

    def first(self) -> Any:
        """The newest; None when there is none."""
        return next(self._read(1), None)

    def __iter__(self) -> Iterator[Any]:
        return self._read(None)

    def __len__(self) -> int:
        return self.count()

    def __getitem__(self, index: slice) -> list[Any]:
        if not isinstance(index, slice) or index.stop is None or index.step is not None:
            raise InvalidInput.field(self.name, index, "a slice such as [:20]")
        return list(islice(self._read(index.stop), index.start or 0, None))

    def __repr__(self) -> str:
        found = [str(one) for one in self._read(SHOWN + 1)]
        return f"<{self.name} [{', '.join(found[:SHOWN])}{', …' if len(found) > SHOWN else ''}]>"

    def _read(self, limit: int | None) -> Iterator[Any]:
        columns = [self.fields[name].column.label(name) for name in self.shown or self.fields]
        query: Select[Any] = select(*columns).select_from(self.source).where(*self.where)
        with transaction() as session:
            for row in session.execute(query.order_by(*self.order).limit(limit).execution_options(yield_per=AT_A_TIME)):
                yield dict(row._mapping) if self.shown else row

    def _condition(self, key: str, value: Any) -> Any:
        name, _, lookup = key.rpartition("__")
        if key in self.fields or lookup not in LOOKUPS:
            name, lookup = key, "exact"
        field = self._field(name, key)
        if field.is_one_of is not None and lookup not in ("exact", "in"):
            raise InvalidInput.field(self.name, key, f"{name} or {name}__in")
        return field.narrowed(name, lookup, value)

    def _field(self, name: str, asked: str) -> Field:
        if name not in self.fields:
            endings = ", ".join(f"__{lookup}" for lookup in LOOKUPS)
            raise InvalidInput.field(self.name, asked, f"one of {', '.join(self.fields)}, alone or with {endings}")
        return self.fields[name]
