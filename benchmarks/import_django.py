"""`python -m benchmarks.import_django`: bring over a million notifications of 20,000 people, and check them.

Both databases on one durable PostgreSQL of its own; the earlier one has the tables that Django makes. Half
of the notifications are broadcasts to everyone, half are of events for four people each, with data. Each
step is a process of its own, as it is used; prints its time, its pace and its peak of memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url, text

from shared.database import engine, make_engine
from shared.embedded import EmbeddedServers
from shared.logs import configure_logs
from shared.migrations import upgrade
from shared.settings import Settings, get_settings

ROOT = Path(__file__).parent.parent
DAYS = 25  # over which they were made: within the retention of 30
FEW = 4  # people of a small event
FILL = """
    INSERT INTO accounts_user (id, username, first_name, last_name, email, role, password, is_superuser, is_staff, is_active, date_joined)
    SELECT n, 'person' || n, 'Prénom' || n, 'Nom' || n, 'person' || n || '@example.test',
           (ARRAY['stagiaire', 'tuteur', 'rh', 'admin'])[1 + n % 4], '', false, false, true, now()
    FROM generate_series(1, :people) AS n;

    INSERT INTO notification_service_notificationevent (id, event_type, event_data, target_roles, processed)
    SELECT n, 'stage_update', jsonb_build_object('stage_id', n, 'status', 'en_cours', 'title', 'Stage numéro ' || n), '["tuteur"]', true
    FROM generate_series(1, :broadcasts + :small) AS n;

    INSERT INTO notification_service_notification
        (recipient_id, event_id, title, message, notification_type, is_read, read_at, created_at)
    SELECT person, n, 'Information générale ' || n, 'Un message de longueur habituelle, comme les gens en reçoivent.', 'info',
           person % 3 = 0, CASE WHEN person % 6 = 0 THEN made + interval '1 hour' END, made + person * interval '1 millisecond'
    FROM generate_series(1, :broadcasts) AS n, generate_series(1, :people) AS person,
         LATERAL (SELECT CAST(:since AS timestamptz) + n * (interval '1 day' * :days / (:broadcasts + 1)) AS made) AS moment;

    INSERT INTO notification_service_notification
        (recipient_id, event_id, title, message, notification_type, is_read, read_at, created_at)
    SELECT 1 + (n * 7 + k * 31) % :people, :broadcasts + n, 'Stage ' || n || ' mis à jour',
           'Le stage numéro ' || n || ' a été mis à jour par votre tuteur.', 'success', n % 2 = 0, NULL,
           CAST(:since AS timestamptz) + n * (interval '1 day' * :days / (:small + 1)) + k * interval '2 milliseconds'
    FROM generate_series(1, :small) AS n, generate_series(1, :few) AS k;

    ANALYZE;
"""


def make_source(settings: Settings, people: int, notifications: int) -> str:
    """The earlier system's database, made by Django and filled with SQL; its address."""
    url = make_url(settings.database).set(database="earlier")
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE earlier"))
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    subprocess.run([sys.executable, "-m", "tests.shared.old_django.make", address], cwd=ROOT, check=True)
    own = make_engine(settings.model_copy(update={"database_url": url.render_as_string(hide_password=False)}))
    values = {
        "people": people,
        "broadcasts": notifications // 2 // people,
        "small": notifications // 2 // FEW,
        "few": FEW,
        "days": DAYS,
        "since": datetime.now(UTC) - timedelta(days=DAYS + 1),
    }
    with own.begin() as connection:
        connection.execute(text(FILL), values)
    own.dispose()
    return address


STEPS = {"dry run": ["--dry-run"], "import": [], "the same again": [], "check": ["--check"]}


def measure(source: str, options: list[str]) -> str:
    """The command in a process of its own: its time, its pace, what it took of a processor, its peak of memory."""
    command = [
        sys.executable,
        "-c",
        "from shared.cli import main; main()",
        "import-django",
        "--source",
        source,
        "--json",
    ]
    started = time.monotonic()
    process = subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, report
    seconds, rows = time.monotonic() - started, report["notifications"]
    busy = used.ru_utime + used.ru_stime
    return f"{seconds:.0f} s ({rows / seconds:,.0f}/s; {busy:.0f} s of a processor), {used.ru_maxrss / 1e3:.0f} MB"


@click.command()
@click.option("--people", default=20_000, show_default=True, help="how many")
@click.option("--notifications", default=1_000_000, show_default=True, help="about how many in all")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def main(people: int, notifications: int, as_json: bool) -> None:
    """Measure the import of an earlier system."""
    with tempfile.TemporaryDirectory(prefix="stagebloom-bench-") as directory:
        os.environ.update(DATA_DIR=directory, LOG_LEVEL="WARNING")
        with EmbeddedServers(Path(directory), want_redis=False):
            settings = get_settings()
            configure_logs(settings)
            upgrade(engine(settings))
            source = make_source(settings, people, notifications)
            figures = {what: measure(source, options) for what, options in STEPS.items()}
            figures["load of the machine, last 5 minutes"] = f"{os.getloadavg()[1]:.1f} on {os.cpu_count()} processors"
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    table = Table("what", "measured")
    for row in figures.items():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
