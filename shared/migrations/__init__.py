"""The schema's history, by alembic, and the functions that move a database along it.

`upgrade` may be run by several processes at once: an advisory lock lets one migrate, the others find
it done.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Engine, text

from shared.errors import InvalidInput

LOCK = text("SELECT pg_advisory_lock(hashtext('stagebloom migrations'))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtext('stagebloom migrations'))")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to `revision`, from nothing or from any earlier one."""
    _run(engine, command.upgrade, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to `revision` ("base": nothing of ours is left)."""
    _run(engine, command.downgrade, revision)
    if revision == "base":
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


def current(engine: Engine) -> str | None:
    """The revision the database is at; None when it was never migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision this code knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    assert newest is not None
    return newest


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
            config.attributes["connection"] = connection
            move(config, revision)
            connection.commit()
        except CommandError as error:  # also of a database that is newer than this code
            raise InvalidInput(f"revision: {error}", field="revision", value=revision) from None
        finally:
            connection.rollback()
            connection.execute(UNLOCK)
            connection.commit()
