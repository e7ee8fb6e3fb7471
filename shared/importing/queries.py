"""What is asked of the earlier system's tables, found by their names: every column is looked for before anything is read.

Values are asked for raw, times as text, so that one broken value is one refused row. Texts far longer than
can be taken come cut, so that a chunk has a size.
"""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from typing import Any

from sqlalchemy import (
    CHAR,
    Connection,
    MetaData,
    Null,
    Select,
    String,
    Table,
    case,
    cast,
    column,
    exists,
    func,
    inspect,
    literal,
    null,
    select,
    table,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError

from shared.errors import InvalidInput
from shared.events import MAX_DATA_BYTES
from shared.importing.mapping import Mapping, flag, is_required
from shared.importing.old_notifications import MAX_MESSAGE
from shared.importing.rules import Refused

SPARE = 4  # times of what can be taken are read: some databases count bytes, and JSON may be spaced
UUID_PLACES = (1, 9, 13, 17, 21, 33)

Query = Select[Any]


class Tables:
    """The old tables by the names of the mapping. Raises: InvalidInput naming the option that leads nowhere.

    `missing` are the options of what is not there and counts as empty, with the names that were looked for.
    """

    def __init__(self, connection: Connection, mapping: Mapping) -> None:
        self.missing: list[str] = []
        self._connection = connection
        self._mapping = mapping
        self.users = self._table("users_table")
        self.notifications = self._table("notifications_table")

    def people(self) -> Query:
        """In the order of their ids."""
        of = self.users
        identity, stage = self._column(of, "user_id_column"), self._column(of, "stage_column")
        columns = {
            "id": self._id(identity),
            "username": self._column(of, "username_column"),
            "first_name": self._column(of, "first_name_column"),
            "last_name": self._column(of, "last_name_column"),
            "email": self._column(of, "email_column"),
            "is_active": self._column(of, "active_column"),
            "role": self._column(of, "role_column"),
            "stage": self._id(stage),
            "stage_is_there": self._is_there(stage),
        }
        return _select(columns).order_by(identity)

    def all_notifications(self) -> tuple[Query, Any]:
        """Oldest first; and the recipient's id, to ask for some people's."""
        of = self.notifications
        key = self._column(of, "recipient_column")
        recipient = self._id(key)
        # Distinct: a person who is there twice must not double their notifications.
        people = select(self._column(self.users, "user_id_column").label("id")).distinct().subquery()
        created, identity = self._column(of, "created_column"), self._column(of, "notification_id_column")
        columns = {
            "id": identity,
            "person": case((people.c.id.is_not(None), recipient)),
            "title": _cut(self._column(of, "title_column")),
            "message": _cut(self._column(of, "message_column")),
            "type": self._column(of, "type_column"),
            "is_read": self._column(of, "read_column"),
            "read_at": cast(self._column(of, "read_at_column"), String()),
            "created_at": cast(created, String()),
            "event": self._column(of, "event_column"),
        }
        joined = of.outerjoin(people, key == people.c.id)
        return _select(columns).select_from(joined).order_by(created, identity), recipient

    def events(self) -> tuple[Query, Any] | None:
        """And the event's id, to ask for some; None without such a table."""
        of = self._table_if_there("events_table")
        if of is None:
            return None
        identity = self._column(of, "event_id_column")
        data = cast(self._column(of, "event_data_column"), String())
        columns = {
            "id": identity,
            "event_type": self._column(of, "event_type_column"),
            "data": case((func.length(data) <= SPARE * MAX_DATA_BYTES, data)),
            "data_length": func.length(data),
        }
        return _select(columns), identity

    def templates(self) -> Query | Refused | None:
        """Or why not: how the earlier system kept its templates is anybody's guess. None without such a table."""
        of = self._table_if_there("templates_table")
        if of is None:
            return None
        names = ("id", "name", "title", "message")
        found = {name: self._column(of, f"template_{name}_column") for name in names}
        missing = [flag(f"template_{name}_column") for name in names[1:] if isinstance(found[name], Null)]
        if missing:
            expected = f"columns of {of.fullname}: {', '.join(of.c.keys())}"
            return Refused(f"templates: {', '.join(missing)}: expected {expected}")
        cut = {name: _cut(found[name]) for name in names[1:]}
        return _select({"id": found["id"], **cut}).order_by(found["name"], found["id"])

    def _table(self, option: str) -> Table:
        name = str(getattr(self._mapping, option))
        schema, _, bare = name.rpartition(".")
        try:
            return Table(bare, MetaData(), schema=schema or None, autoload_with=self._connection, resolve_fks=False)
        except NoSuchTableError:
            raise InvalidInput.field(flag(option), name, "a table of the source database") from None

    def _table_if_there(self, option: str) -> Table | None:
        try:
            return self._table(option)
        except InvalidInput:
            if is_required(option, getattr(self._mapping, option)):
                raise
            self._miss(option)
            return None

    def _column(self, of: Table, option: str) -> Any:
        """The column; NULL for one that isn't there and needn't be."""
        name = getattr(self._mapping, option)
        if name in of.c:
            return of.c[name]
        if is_required(option, name):
            raise InvalidInput.field(flag(option), name, f"a column of {of.fullname}: {', '.join(of.c.keys())}")
        self._miss(option)
        return null()

    def _miss(self, option: str) -> None:
        self.missing.append(f"{flag(option)} {getattr(self._mapping, option)}")

    def _id(self, of: Any) -> Any:
        """An id as Django shows it: in SQLite, which has no UUIDs, it keeps them without their dashes."""
        if self._connection.dialect.name != "sqlite" or not isinstance(of.type, CHAR) or of.type.length != 32:
            return of
        parts: list[Any] = [func.substr(of, start, end - start) for start, end in pairwise(UUID_PLACES)]
        return reduce(lambda shown, part: shown.concat("-").concat(part), parts)

    def _is_there(self, of: Any) -> Any:
        """Whether the row that a column refers to is there; true where the database doesn't say of which table."""
        for key in getattr(of, "foreign_keys", ()):
            name, _, identity = key.target_fullname.rpartition(".")
            schema, _, bare = name.rpartition(".")
            if inspect(self._connection).has_table(bare, schema=schema or None):
                referred = table(bare, column(identity), schema=schema or None)
                return exists().where(referred.c[identity] == of)
        return literal(1)


def is_one_of(of: Any, ids: list[Any]) -> Any:
    """Raw values, as they came."""
    return type_coerce(of, String()).in_(ids)


def _select(columns: dict[str, Any]) -> Query:
    """Without SQLAlchemy's conversions, which raise for a whole chunk."""
    raw: list[Any] = [type_coerce(one, String()).label(name) for name, one in columns.items()]
    return select(*raw)


def _cut(of: Any) -> Any:
    """Only what is too long: SQLite's substr would end a text at a NUL, which has to be seen."""
    longest = SPARE * (MAX_MESSAGE + 1)
    return case((func.length(of) > longest, func.substr(of, 1, longest)), else_=of)
