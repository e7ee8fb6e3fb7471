"""The earlier system's database: read in one transaction, in order, a chunk at a time; never written.

Which table and column holds what is a `Mapping`: Django's own names, unless said otherwise. Values come
as the driver gives them (SQLite keeps times as text), so that one broken value is one refused row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    FromClause,
    MetaData,
    String,
    Table,
    create_engine,
    func,
    null,
    select,
    type_coerce,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchTableError

from shared.errors import InvalidInput

CHUNK = 5000  # rows written in one transaction: well under a second


def _option(default: str, meaning: str, *, required: bool = True) -> str:
    found: str = field(default=default, metadata={"help": meaning, "required": required})
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """Where the earlier system keeps what. An optional column that isn't there counts as empty."""

    users_table: str = _option("accounts_user", "people")
    user_id_column: str = _option("id", "a person's id: their id here too")
    username_column: str = _option("username", "the name of whoever has no other", required=False)
    first_name_column: str = _option("first_name", "first name", required=False)
    last_name_column: str = _option("last_name", "last name", required=False)
    email_column: str = _option("email", "address", required=False)
    active_column: str = _option("is_active", "whether they may come in", required=False)
    role_column: str = _option("role", "role, which becomes the group role_…", required=False)
    stage_column: str = _option("stage_id", "stage, which becomes the group stage_…", required=False)
    notifications_table: str = _option("notification_service_notification", "notifications")
    notification_id_column: str = _option("id", "a notification's id")
    recipient_column: str = _option("recipient_id", "whose it is")
    title_column: str = _option("title", "title")
    message_column: str = _option("message", "message")
    type_column: str = _option("notification_type", "info, success, warning or error")
    read_column: str = _option("is_read", "whether it is read")
    read_at_column: str = _option("read_at", "when it was read", required=False)
    created_column: str = _option("created_at", "when it was made")
    event_column: str = _option("event_id", "the event it was made for", required=False)
    events_table: str = _option("notification_service_notificationevent", "events", required=False)
    event_id_column: str = _option("id", "an event's id", required=False)
    event_type_column: str = _option("event_type", "an event's type", required=False)


class DjangoSource:
    """An open database of the earlier system."""

    def __init__(self, connection: Connection, mapping: Mapping) -> None:
        self._connection = connection
        self._mapping = mapping
        self._users = self._table("users_table")
        self._notifications = self._table("notifications_table")

    def count_people(self) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(self._users)) or 0)

    def count_notifications(self) -> int:
        return int(self._connection.scalar(select(func.count()).select_from(self._notifications)) or 0)

    def people(self) -> Iterator[list[Any]]:
        """Chunks of people in the order of their ids: id, username, first_name, last_name, email, is_active, role, stage."""
        of = self._users
        identity = self._column(of, "user_id_column")
        columns = {
            "id": identity,
            "username": self._column(of, "username_column"),
            "first_name": self._column(of, "first_name_column"),
            "last_name": self._column(of, "last_name_column"),
            "email": self._column(of, "email_column"),
            "is_active": self._column(of, "active_column"),
            "role": self._column(of, "role_column"),
            "stage": self._column(of, "stage_column"),
        }
        yield from self._chunks(select(*_raw(columns)).order_by(identity))

    def notifications(self, *, of_people: list[Any] | None = None) -> Iterator[list[Any]]:
        """Chunks of notifications, oldest first; of some people (their old ids), or all.

        Each has id, recipient, title, message, type, is_read, read_at, created_at, event, event_type and
        `person`, which is None where nobody has the recipient's id.
        """
        of = self._notifications
        recipient = self._column(of, "recipient_column")
        person = self._column(self._users, "user_id_column")
        event = self._column(of, "event_column")
        event_type: ColumnElement[Any] = null()
        joined: FromClause = of.outerjoin(self._users, recipient == person)
        events = self._events()
        if events is not None and isinstance(event, Column):
            event_type = self._column(events, "event_type_column")
            joined = joined.outerjoin(events, event == self._column(events, "event_id_column"))
        created, identity = self._column(of, "created_column"), self._column(of, "notification_id_column")
        columns = {
            "id": identity,
            "recipient": recipient,
            "person": person,
            "title": self._column(of, "title_column"),
            "message": self._column(of, "message_column"),
            "type": self._column(of, "type_column"),
            "is_read": self._column(of, "read_column"),
            "read_at": self._column(of, "read_at_column"),
            "created_at": created,
            "event": event,
            "event_type": event_type,
        }
        query = select(*_raw(columns)).select_from(joined).order_by(created, identity)
        yield from self._chunks(
            query if of_people is None else query.where(type_coerce(recipient, String()).in_(of_people))
        )

    def _chunks(self, query: Any) -> Iterator[list[Any]]:
        rows = self._connection.execute(query, execution_options={"yield_per": CHUNK})
        for chunk in rows.partitions():
            yield list(chunk)

    def _table(self, option: str) -> Table:
        name = str(getattr(self._mapping, option))
        schema, _, bare = name.rpartition(".")
        try:
            return Table(bare, MetaData(), schema=schema or None, autoload_with=self._connection, resolve_fks=False)
        except NoSuchTableError:
            raise InvalidInput.field(_flag(option), name, "a table of the source database") from None

    def _events(self) -> Table | None:
        try:
            return self._table("events_table")
        except InvalidInput:
            if self._mapping.events_table != Mapping().events_table:
                raise
            return None

    def _column(self, table: Table, option: str) -> Any:
        """The column; NULL for an optional one that isn't there and that nobody asked for by name."""
        name = getattr(self._mapping, option)
        if name in table.c:
            return table.c[name]
        described = next(one for one in fields(Mapping) if one.name == option)
        if described.metadata["required"] or name != described.default:
            raise InvalidInput.field(_flag(option), name, f"a column of {table.fullname}: {', '.join(table.c.keys())}")
        return null()


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _raw(columns: dict[str, Any]) -> list[Any]:
    """Without SQLAlchemy's conversions, which raise for a whole chunk."""
    return [type_coerce(column, String()).label(name) for name, column in columns.items()]


@contextmanager
def open_source(address: str, mapping: Mapping) -> Iterator[DjangoSource]:
    """Open the database at `address`: postgresql://… or sqlite:///file. Raises: InvalidInput."""
    expected = "postgresql://user:password@host:5432/name or sqlite:////path/to/db.sqlite3"
    scheme, _, rest = address.partition("://")
    try:
        url = make_url(f"postgresql+psycopg2://{rest}" if scheme in ("postgres", "postgresql") else address)
    except ArgumentError:
        raise InvalidInput(f"--source: expected {expected}", field="--source") from None
    if url.get_backend_name() not in ("postgresql", "sqlite"):
        raise InvalidInput(f"--source: expected {expected}", field="--source")
    if url.get_backend_name() == "sqlite":
        url = url.set(database=f"file:{url.database}", query={"mode": "ro", "uri": "true"})
    source = create_engine(url, hide_parameters=True)
    if url.get_backend_name() == "postgresql":
        source = source.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    try:
        with source.connect() as connection:
            yield DjangoSource(connection, mapping)
    finally:
        source.dispose()
