"""The schema's history, by alembic, and the functions that move a database along it.

`upgrade` may be run by several processes at once: an advisory lock lets one migrate, the others find
it done. A database that belongs to another application is refused, and nothing in it is changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text

from shared.errors import InvalidInput, SettingsError
from shared.models import Base

LOCK = text("SELECT pg_advisory_lock(hashtext('stagebloom migrations'))")
RELATIONS = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"
)
OURS = frozenset(("installation", "notification_events"))  # both are there from the first migration on
SHOWN = 5
UNLOCK = text("SELECT pg_advisory_unlock(hashtext('stagebloom migrations'))")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`, from nothing or from any earlier one.

    Raises: SettingsError when the database is another application's; InvalidInput for an unknown revision.
    """
    _run(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` ("base": nothing of ours is left)."""
    _run(engine, command.downgrade, revision)
    if revision == "base":
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


def current(engine: Engine) -> str | None:
    """The revision the database is at; None when it was never migrated.

    Raises: SettingsError when the database is another application's.
    """
    with engine.connect() as connection:
        _refuse_foreign(connection)
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision this code knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


def _refuse_foreign(connection: Connection) -> None:
    """Raises: SettingsError when tables of our names, or alembic's table, are there and are not ours."""
    found = set(connection.scalars(RELATIONS))
    revisions = MigrationContext.configure(connection).get_current_heads()
    if found >= OURS and revisions:
        return
    foreign = sorted(found & Base.metadata.tables.keys())
    if revisions:
        foreign.append(f"alembic_version at {', '.join(revisions)}")
    if foreign:
        shown = ", ".join(foreign[:SHOWN]) + (", …" if len(foreign) > SHOWN else "")
        raise SettingsError(
            f"DATABASE_URL: this database has tables of another application ({shown}):"
            " give StageBloom a database of its own. Nothing was changed.",
            key="DATABASE_URL",
            tables=foreign,
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _run(engine: Engine, move: Callable[[Config, str], None], revision: str) -> None:
    config = _config()
    with engine.connect() as connection:
        connection.execute(LOCK)
        connection.commit()
        try:
            _refuse_foreign(connection)
            config.attributes["connection"] = connection
            move(config, revision)
            connection.commit()
        except CommandError as error:  # also of a database that is newer than this code
            raise InvalidInput(f"revision: {error}", field="revision", value=revision) from None
        finally:
            connection.rollback()
            connection.execute(UNLOCK)
            connection.commit()
