"""Databases of a test's own, on the server of the tests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, make_url, text

from shared.database import engine, make_engine
from shared.settings import Settings


@contextmanager
def new_database(settings: Settings) -> Iterator[Engine]:
    """An empty database, dropped afterwards."""
    name = f"test_{secrets.token_hex(8)}"
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        address = make_url(settings.database).set(database=name).render_as_string(hide_password=False)
        own = make_engine(settings.model_copy(update={"database_url": address}))
        try:
            yield own
        finally:
            own.dispose()
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
