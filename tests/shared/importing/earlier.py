"""The earlier system's database as Django makes it, and imports of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from shared.database import transaction
from shared.importing.django_import import Report, import_all
from shared.importing.django_source import open_source
from shared.importing.mapping import Mapping
from shared.importing.parity import Difference, compare
from shared.importing.rules import Rules, taken_since
from shared.settings import Settings
from tests.shared.test_cli import ROOT, stagebloom

NOW = datetime.now(UTC)
RULES = Rules(taken_since(NOW, 30), NOW)
TABLES = (
    "users",
    "groups",
    "memberships",
    "notification_templates",
    "notification_events",
    "notifications",
    "audit_log",
)


def make_old(address: str) -> None:
    """Its tables and a few rows, made by a real Django."""
    command = [sys.executable, "-m", "tests.shared.old_django.make", address, NOW.isoformat()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def address_of(source: Path | str) -> str:
    return f"sqlite:///{source}" if isinstance(source, Path) else source


def run(
    here: Settings, source: Path | str, rules: Rules = RULES, mapping: Mapping | None = None, *, dry_run: bool = False
) -> Report:
    report = Report()
    with open_source(address_of(source), mapping or Mapping()) as opened:
        for found in import_all(here, opened, rules, dry_run=dry_run):
            report = found
    return report


def differences(
    here: Settings, source: Path | str, rules: Rules = RULES, mapping: Mapping | None = None
) -> list[Difference]:
    with open_source(address_of(source), mapping or Mapping()) as opened:
        return [one for chunk in compare(here, opened, rules) for one in chunk.differences]


def cli(here: Settings, source: Path | str, *options: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return stagebloom(
        "import-django", "--source", address_of(source), *options, DATABASE_URL=here.database.replace("+psycopg2", "")
    )


def rows(here: Settings, statement: str) -> list[Any]:
    with transaction(here) as session:
        return [tuple(row) for row in session.execute(text(statement))]


def counts(here: Settings) -> dict[str, int]:
    return {table: rows(here, f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}


def change(file: Path, *statements: str) -> None:
    """Do this to the earlier system's SQLite file."""
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def add_notification(file: Path, **values: Any) -> None:
    """One more, with what a test cares about."""
    row = {
        "recipient_id": 3,
        "title": "Titre",
        "message": "Texte",
        "notification_type": "info",
        "is_read": 0,
        "created_at": f"{NOW:%Y-%m-%d %H:%M:%S}",
    }
    row |= values
    connection = sqlite3.connect(file)
    with connection:
        connection.execute(
            f"INSERT INTO notification_service_notification ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
    connection.close()
