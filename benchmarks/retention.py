"""`python -m benchmarks.retention`: archive and drop a week of ten million, beside a reader and a writer.

On a durable PostgreSQL of its own. Prints how long it took and the longest that the reader (a page of an
inbox) and the writer (a batch of 100 stored) waited while the week was dropped.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from shared.database import engine, transaction
from shared.embedded import EmbeddedServers
from shared.ids import first_event_id_at
from shared.logs import configure_logs
from shared.migrations import upgrade
from shared.partitions import Partition, make_partitions
from shared.settings import Settings, get_settings
from tests.company import Company
from workers import retention

PER_EVENT = 100_000
EVENT = text("UPDATE notification_events SET id = :id WHERE id = :made")
# Filled apart, without indexes, which attaching makes: a fifth of the time.
FILL = """
    ALTER TABLE notifications DETACH PARTITION {name};
    ALTER TABLE {name} DROP CONSTRAINT {name}_pkey;
    DROP INDEX {name}_recipient_id_event_id_idx;
    INSERT INTO {name} (recipient_id, event_id, stored_xid)
    SELECT person, event_id, pg_current_xact_id()
    FROM notification_events, LATERAL (SELECT id AS event_id) AS event, generate_series(1, :people) AS person
    WHERE event_id < {end_id};
    ALTER TABLE notifications ATTACH PARTITION {name} FOR VALUES FROM ({first_id}) TO ({end_id});
"""
READ = text(
    "SELECT event_id FROM notifications WHERE recipient_id = :n AND event_id <= :event_id ORDER BY event_id DESC LIMIT 20"
)
WRITE = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid)
    SELECT 1000000 + 100 * CAST(:n AS bigint) + i, :event_id, pg_current_xact_id() FROM generate_series(1, 100) AS i
""")


class Traffic:
    """A reader and a writer; `longest` is each one's longest wait since it was last emptied."""

    def __init__(self, settings: Settings) -> None:
        self.longest: dict[str, float] = {}
        self._is_over = threading.Event()
        event_id = first_event_id_at(datetime.now(UTC))
        self._threads = [
            threading.Thread(target=self._work, args=(settings, name, statement, event_id), daemon=True)
            for name, statement in (("reader", READ), ("writer", WRITE))
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, settings: Settings, name: str, statement: object, event_id: int) -> None:
        n = 0
        while not self._is_over.is_set():
            n += 1
            started = time.monotonic()
            with transaction(settings) as session:
                session.execute(statement, {"event_id": event_id, "n": n})  # type: ignore[call-overload]
            self.longest[name] = max(self.longest.get(name, 0.0), time.monotonic() - started)

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


def fill(settings: Settings, rows: int) -> Partition:
    """A week two months ago with this many notifications, 100,000 an event."""
    people = min(rows, PER_EVENT)
    company = Company(settings)
    company.people(map(str, range(people)), "role_all")
    moment = datetime.now(UTC) - timedelta(days=60)
    with transaction(settings) as session:
        make_partitions(session, moment)
    for n in range(max(1, rows // PER_EVENT)):
        made = company.notify("1", title=f"Event {n}", message="A message of usual length, as people are sent them.")
        with transaction(settings) as session:
            session.execute(EVENT, {"id": first_event_id_at(moment) + n, "made": made})
    with transaction(settings) as session:
        partition = next(
            one for one in retention.find_outdated(session, settings) if one.starts_at <= moment < one.ends_at
        )
        session.execute(
            text(FILL.format(name=partition.name, first_id=partition.first_id, end_id=partition.end_id)),
            {"people": people},
        )
    return partition


def timed(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@click.command()
@click.option("--rows", default=10_000_000, show_default=True, help="notifications in the week")
@click.option("--archive/--no-archive", "is_archived", default=True, show_default=True, help="archive the week first")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def main(rows: int, is_archived: bool, as_json: bool) -> None:
    """Measure retention."""
    with tempfile.TemporaryDirectory(prefix="stagebloom-bench-") as directory:
        os.environ.update(DATA_DIR=directory, LOG_LEVEL="WARNING")
        with EmbeddedServers(Path(directory), want_redis=False):
            settings = get_settings()
            configure_logs(settings)
            upgrade(engine(settings))
            figures = measure(settings, rows, Path(directory) / "archive" if is_archived else None)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    table = Table("what", "measured")
    for row in figures.items():
        table.add_row(*row)
    Console().print(table)


def measure(settings: Settings, rows: int, directory: Path | None) -> dict[str, str]:
    """Fill, archive, drop."""
    started = time.monotonic()
    partition = fill(settings, rows)
    figures = {f"store {rows:,} by SQL": f"{time.monotonic() - started:.0f} s"}
    if directory is not None:
        figures |= measure_archive(settings, partition, rows, directory)
    return figures | measure_drop(settings, partition, rows)


def measure_archive(settings: Settings, partition: Partition, rows: int, directory: Path) -> dict[str, str]:
    """How long it takes, and what memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def archive() -> None:
        with transaction(settings) as session:
            assert retention.archive_week(session, partition, directory)

    archived = timed(archive)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    size = sum(file.stat().st_size for file in directory.iterdir())
    return {
        f"archive {rows:,}, verified": f"{archived:.0f} s ({rows / archived:,.0f}/s), {size / 1e6:,.0f} MB",
        "memory that took": f"{grown / 1e3:.1f} MB",
    }


def measure_drop(settings: Settings, partition: Partition, rows: int) -> dict[str, str]:
    """How long it takes, and how long others wait."""
    traffic = Traffic(settings)
    time.sleep(2)
    usual = dict(traffic.longest)
    traffic.longest.clear()

    def drop() -> None:
        with transaction(settings) as session:
            assert retention.drop_week(session, partition)

    dropped = timed(drop)
    time.sleep(1)
    traffic.stop()
    return {
        f"drop {rows:,}": f"{1e3 * dropped:.0f} ms",
        "longest wait of the reader meanwhile": f"{1e3 * traffic.longest['reader']:.0f} ms (before: {1e3 * usual['reader']:.0f} ms)",
        "longest wait of the writer meanwhile": f"{1e3 * traffic.longest['writer']:.0f} ms (before: {1e3 * usual['writer']:.0f} ms)",
    }


if __name__ == "__main__":
    main()
