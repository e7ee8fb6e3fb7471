"""`stagebloom stats`, `connections` and `queue`: what the system does, who is there, what waits."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.table import Column, Table

from shared import statistics
from shared.commands.tables import cell, moment, print_tables, say_more
from shared.database import transaction
from shared.models import ENDED_DELIVERIES
from shared.queues import queue_depths
from shared.settings import get_settings

AS_JSON = click.option("--json", "as_json", is_flag=True, help="print JSON")


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, statistics.MAX_DAYS),
    default=statistics.DEFAULT_DAYS,
    show_default=True,
    help="how many days, today included",
)
@AS_JSON
def stats(days: int, as_json: bool) -> None:
    """Show what was sent, delivered and read, and how fast.

    Counts by role, type, category, day and channel.
    """
    with transaction() as session:
        found = {**statistics.system_counts(session, days), "times": statistics.step_times(session)}
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("", *statistics.COUNTS, title=f"since {found['since']}, counted at {found['counted_at']}")
    _add(table, "in all", (found["total"][name] for name in statistics.COUNTS))
    for part in ("role", "type", "category", "day"):
        table.add_section()
        for key, counts in found[f"by_{part}"].items():
            _add(table, f"{part} {key}", (counts[name] for name in statistics.COUNTS))
    print_tables(table)
    click.echo(
        f"delivered: {_percent(found['delivery_success_rate'])}, read: {_percent(found['read_rate'])} of what was stored"
    )
    ends = (*ENDED_DELIVERIES, "pending")
    channels = Table("channel", *ends, "succeeded", title="mail and webhook")
    for channel, ended in found["deliveries"].items():
        _add(channels, channel, (*(ended[name] for name in ends), _percent(ended["success_rate"])))
    print_tables(channels)
    times = Table(
        "from event to",
        "notifications",
        *(f"p{percent} ms" for percent in statistics.PERCENTILES),
        title="the last 24 hours",
    )
    for step, row in found["times"].items():
        _add(times, step, row.values())
    print_tables(times)


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="how many connections are listed"
)
@AS_JSON
def connections(limit: int, as_json: bool) -> None:
    """Show who is connected, by role and through which gateway."""
    with transaction() as session:
        found: dict[str, Any] = statistics.connection_counts(session)
        listed = statistics.open_connections(session, user_id=None, after=statistics.Place(), limit=limit)
    found["connections"] = [connection for _, connection in listed]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(f"{found['total']} connections of {found['people']} people")
    roles = Table("role", "connections", "people")
    for role, counts in found["by_role"].items():
        _add(roles, role, counts.values())
    gateways = Table("gateway", "started", "connections")
    for gateway in found["gateways"]:
        _add(gateways, gateway["name"], (moment(gateway["started_at"]), gateway["connections"]))
    people = Table(Column("person", no_wrap=True), "name", "gateway", Column("since", no_wrap=True))
    for one in found["connections"]:
        _add(people, one["user"]["id"], (one["user"]["name"], one["gateway"], moment(one["connected_at"])))
    print_tables(roles, gateways, people)
    if found["total"] > len(listed):
        say_more(len(listed))


@click.command()
@AS_JSON
def queue(as_json: bool) -> None:
    """Show what waits, and how old the oldest of it is.

    In PostgreSQL and in the broker.
    """
    with transaction() as session:
        found = statistics.queue_state(session)
    found["broker"] = queue_depths(get_settings())
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("waiting", "how many")
    broker = found.pop("broker")
    for name, value in found.items():
        _add(table, name.replace("_", " "), [value])
    for name, depth in (broker or {}).items():
        _add(table, f"broker: {name}", [depth])
    print_tables(table)
    if broker is None:
        click.echo("The broker does not answer.")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _add(table: Table, head: str, cells: Iterable[Any]) -> None:
    table.add_row(cell(head), *map(cell, cells))
