"""The earlier system, made once by Django, and an installation of its own to import into."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.database import engine, transaction
from shared.migrations import upgrade
from shared.partitions import WEEK, list_partitions
from shared.settings import Settings
from tests.databases import new_database
from tests.shared.importing.earlier import NOW, TABLES, make_old


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "db.sqlite3"
    make_old(f"sqlite:///{path}")
    return path


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    """The earlier system's SQLite file, to break."""
    return Path(shutil.copy(made, tmp_path / "old.sqlite3"))


@pytest.fixture(scope="session")
def made_on_postgresql(settings: Settings) -> Iterator[str]:
    """The name of its PostgreSQL database."""
    with new_database(settings) as database:
        make_old(database.url.set(drivername="postgresql").render_as_string(hide_password=False))
        database.dispose()
        yield str(database.url.database)


@pytest.fixture
def postgresql(settings: Settings, made_on_postgresql: str) -> Iterator[str]:
    """The address of a copy of it, to break."""
    name = f"old_{secrets.token_hex(8)}"
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {made_on_postgresql}"))
        url = engine(settings).url.set(drivername="postgresql", database=name)
        yield url.render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session")
def installation(settings: Settings) -> Iterator[Settings]:
    """A database of its own: partitions of old weeks are none of the other tests' business."""
    with new_database(settings) as database:
        upgrade(database)
        yield settings.model_copy(update={"database_url": database.url.render_as_string(hide_password=False)})


@pytest.fixture
def wiped(installation: Settings) -> Callable[[], None]:
    """Leaves nobody, and none of the weeks that an import has made."""

    def wipe() -> None:
        with transaction(installation) as session:
            for table in reversed(TABLES):
                session.execute(text(f"DELETE FROM {table}"))
            for partition in list_partitions(session):
                if partition.ends_at < NOW - WEEK:
                    session.execute(text(f"DROP TABLE {partition.name}"))

    return wipe


@pytest.fixture
def here(installation: Settings, wiped: Callable[[], None]) -> Settings:
    """The new installation, empty."""
    wiped()
    return installation
