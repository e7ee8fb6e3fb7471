"""`make bench`: measure the whole system as it is shipped, on durable servers of its own.

Prints a table, or JSON with --json. Absolute times are those of this machine on this day; compare
figures of one run with each other, or runs that take turns.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import text

from producer import NotificationService
from shared.database import engine, transaction
from shared.embedded import EmbeddedServers
from shared.logs import configure_logs
from shared.migrations import upgrade
from shared.settings import Settings, get_settings
from shared.tokens import issue_token
from tests.company import Company
from tests.live_client import connect
from tests.swarm import Swarm
from tests.system import System

SINGLES = 200
STORED_IN = text(
    "SELECT extract(epoch FROM planned_at - created_at), extract(epoch FROM processed_at - planned_at) FROM notification_events WHERE id = :id"
)

Figures = dict[str, str]


@contextmanager
def whole_system() -> Iterator[tuple[Settings, System]]:
    """Servers that keep what they acknowledge, and the processes of the Procfile."""
    with tempfile.TemporaryDirectory(prefix="stagebloom-bench-") as data_dir:
        os.environ["DATA_DIR"] = data_dir
        os.environ["LOG_LEVEL"] = "WARNING"
        with EmbeddedServers(Path(data_dir)):
            settings = get_settings()
            configure_logs(settings)
            upgrade(engine(settings))
            with System(settings) as system:
                system.start_missing()
                yield settings, system


def percentiles(seconds: list[float]) -> str:
    """p50, p95 and p99 in milliseconds."""
    cut = quantiles(seconds, n=100)
    return f"{1e3 * cut[49]:.1f} / {1e3 * cut[94]:.1f} / {1e3 * cut[98]:.1f} ms"


def measure_singles(settings: Settings, system: System, company: Company, while_what: str) -> Figures:
    """One event for one person who is connected, one after another."""
    service = NotificationService()
    created, shown = [], []
    with connect(system.base_url, issue_token(settings, "0")) as client:
        for n in range(SINGLES):
            began = time.perf_counter()
            sent = service.send_notification("0", f"single {n}", "M")
            created.append(time.perf_counter() - began)
            client.wait_for("notification", lambda frame, sent=sent: frame["notification"]["id"] == sent.id, 60)  # type: ignore[misc]
            shown.append(time.perf_counter() - began)
    return {
        f"create an event {while_what} (p50 / p95 / p99)": percentiles(created),
        f"from create to socket {while_what} (p50 / p95 / p99)": percentiles(shown),
    }


def measure_large(settings: Settings, people: int) -> Figures:
    """One event for everyone: planning, then storing."""
    sent = NotificationService().send_broadcast("large", "M").wait(600)
    with transaction(settings) as session:
        planned, stored = map(float, session.execute(STORED_IN, {"id": sent.id}).one())
    return {
        f"plan {people:,} people": f"{planned:.2f} s",
        f"store {people:,} people": f"{stored:.2f} s ({people / stored:,.0f}/s)",
    }


def measure_sockets(settings: Settings, system: System, sockets: int) -> Figures:
    """Many browsers on one gateway process; a role event for all of them."""
    tokens = [issue_token(settings, str(n)) for n in range(sockets)]
    master = system.process_id("web")
    process = int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])

    def resident() -> int:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    with Swarm(system.port, tokens) as swarm:
        took = swarm.connect(300)
        growth = resident() - before
        NotificationService().send_role_notifications(["swarm"], "T", "M")
        swarm.run_until(lambda: swarm.total > 0)
        spread = swarm.run_until(lambda: swarm.total >= sockets, 120)
        assert swarm.duplicates == swarm.lost == 0
    return {
        f"connect {sockets:,} sockets": f"{took:.1f} s ({sockets / took:,.0f}/s)",
        "memory of the gateway process": f"{growth / 1e6:.1f} MB ({growth / sockets:,.0f} bytes a socket)",
        f"a role event, first to last of {sockets:,} sockets": f"{1e3 * spread:.0f} ms ({sockets / spread:,.0f}/s)",
    }


@click.command()
@click.option("--people", default=100_000, show_default=True, help="in the large event")
@click.option("--sockets", default=5_000, show_default=True, help="on the one gateway process")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def main(people: int, sockets: int, as_json: bool) -> None:
    """Measure the whole system."""
    figures: Figures = {}
    with Progress(console=Console(stderr=True), transient=True) as progress, whole_system() as (settings, system):
        company = Company(settings)
        company.people(map(str, range(sockets)), "role_swarm")
        company.people(map(str, range(sockets, people)), "role_rest")
        steps: dict[str, Callable[[], Figures]] = {
            "sockets": lambda: measure_sockets(settings, system, sockets),
            "single notifications": lambda: measure_singles(settings, system, company, "alone"),
            "a large event": lambda: measure_large(settings, people),
            "single notifications during a large event": lambda: _beside_a_large_event(settings, system, company),
        }
        for name, measure in progress.track(list(steps.items()), description="measuring"):
            progress.console.print(name)
            figures |= measure()
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    table = Table("what", "measured")
    for row in figures.items():
        table.add_row(*row)
    Console().print(table)


def _beside_a_large_event(settings: Settings, system: System, company: Company) -> Figures:
    large = [NotificationService().send_broadcast(f"large {n}", "M") for n in range(5)]
    figures = measure_singles(settings, system, company, "beside large events")
    for sent in large:
        sent.wait(600)
    return figures


if __name__ == "__main__":
    main()
