"""Opens the earlier system's database for reading only, whatever its encoding; whatever it says names --source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from psycopg2.extensions import BYTES, encodings, register_type
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from shared.database import CONNECT_SECONDS
from shared.errors import InvalidInput, Unavailable

EXPECTED = "postgresql://user:password@host:5432/name or sqlite:////path/to/db.sqlite3"
UNCHECKED, ANY_BYTES = "SQL_ASCII", "LATIN1"  # a server that holds any bytes checks them on the way out, but for these
# Sorting everything may take long, and so may writing a chunk meanwhile.
PATIENCE = (
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = 'ISO'",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)


@contextmanager
def open_database(address: str) -> Iterator[Connection]:
    """A connection in one transaction that sees one moment. Raises: InvalidInput, Unavailable."""
    url = _url(address)
    source = _postgresql(url) if url.get_backend_name() == "postgresql" else _sqlite(url)
    try:
        with naming_the_source():
            connection = source.connect()
        with connection:
            with naming_the_source():
                for statement in PATIENCE if connection.dialect.name == "postgresql" else ("BEGIN",):
                    connection.exec_driver_sql(statement)
            yield connection
    finally:
        source.dispose()


@contextmanager
def naming_the_source() -> Iterator[None]:
    """What the source's server refuses, in one line. Raises: Unavailable."""
    try:
        yield
    except DBAPIError as error:
        cause = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
        raise Unavailable(f"--source: {cause}") from None


def read_bytes(connection: Connection) -> str | None:
    """From now on texts come as bytes, in the codec returned; None where they come as texts.

    One byte that is none of the encoding would otherwise end the reading, not only refuse its row.
    """
    dbapi: Any = connection.connection.dbapi_connection
    if connection.dialect.name != "postgresql" or _encoding(dbapi) == "UTF8":
        return None
    register_type(BYTES, dbapi)
    return "utf_8" if _encoding(dbapi) == UNCHECKED else encodings[dbapi.encoding]


def _url(address: str) -> URL:
    scheme, _, rest = address.partition("://")
    try:
        url = make_url(f"postgresql+psycopg2://{rest}" if scheme in ("postgres", "postgresql") else address)
    except (ArgumentError, ValueError):
        raise InvalidInput(f"--source: expected {EXPECTED}", field="--source") from None
    if url.get_backend_name() not in ("postgresql", "sqlite") or not url.database:
        raise InvalidInput(f"--source: expected {EXPECTED}", field="--source")
    return url


def _postgresql(url: URL) -> Engine:
    patience = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    made = create_engine(url, hide_parameters=True, connect_args=patience)
    event.listen(made, "connect", _keep_encoding)
    return made.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _keep_encoding(dbapi: Any, _: object) -> None:
    """The server converts nothing, so that each text is decoded, or not, by itself."""
    dbapi.set_client_encoding(ANY_BYTES if _encoding(dbapi) == UNCHECKED else _encoding(dbapi))


def _encoding(dbapi: Any) -> str:
    """The server's, or UTF8 for one that Python doesn't know: the server converts then."""
    found = str(dbapi.get_parameter_status("server_encoding"))
    return found if found in encodings else "UTF8"


def _sqlite(url: URL) -> Engine:
    path = quote(str(url.database))
    made = create_engine(url.set(database=f"file:{path}", query={"mode": "ro", "uri": "true"}), hide_parameters=True)
    event.listen(made, "connect", _keep_bytes)
    return made


def _keep_bytes(dbapi: Any, _: object) -> None:
    """What is no UTF-8 comes as a text that can't be stored, which refuses its row alone."""
    dbapi.text_factory = lambda value: value.decode("utf-8", "surrogateescape")
