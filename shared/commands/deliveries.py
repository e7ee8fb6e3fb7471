"""`stagebloom deliveries`: what went by mail and webhook, why not, and again."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Column, Table

from shared import audit
from shared import deliveries as work
from shared.audit import COMMAND_LINE, Actor
from shared.commands.tables import Field, cell, print_rows, print_tables, say_more
from shared.database import transaction
from shared.doorbell import ring
from shared.models import DELIVERY_STATUSES

ID = click.IntRange(1, work.MAX_ID)


@click.group()
def deliveries() -> None:
    """List, show and replay what goes by mail and webhook."""


@deliveries.command("list")
@click.option("--status", type=click.Choice(DELIVERY_STATUSES), help="only these")
@click.option("--channel", type=click.Choice(work.CHANNELS), help="only by this way")
@click.option("--event", type=ID, help="only of this event")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="how many, newest first")
@click.option("--json", "as_json", is_flag=True, help="print JSON, one delivery a line")
def list_(status: str | None, channel: str | None, event: int | None, limit: int, as_json: bool) -> None:
    """List the newest deliveries."""
    with transaction() as session:
        found = [
            work.as_json(row) for row in work.list_deliveries(session, work.Filters(status, channel, event), limit + 1)
        ]
    rows = found[:limit]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    fields = (
        Field("id"),
        Field("event"),
        Field("to", free=True),
        Field("channel"),
        Field("status"),
        Field("reason", free=True, spare=1),
        Field("tries", spare=3),
        Field("error", free=True, spare=2),
    )
    names = ("id", "event_id", "recipient", "channel", "status", "reason", "attempts", "error")
    print_rows(fields, [[row[name] for name in names] for row in rows])
    if len(found) > limit:
        say_more(limit)


@deliveries.command()
@click.argument("delivery_id", type=ID)
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show(delivery_id: int, as_json: bool) -> None:
    """Show one delivery."""
    with transaction() as session:
        found = work.as_json(work.get_delivery(session, delivery_id))
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table(Column(), Column(), show_header=False, box=None)
    for name, value in found.items():
        _add_row(table, name.replace("_", " "), value)
    print_tables(table)


@deliveries.command()
@click.argument("delivery_ids", nargs=-1, type=ID)
@click.option("--failed", is_flag=True, help="the failed ones instead, oldest first")
@click.option("--channel", type=click.Choice(work.CHANNELS), help="with --failed: only by this way")
@click.option("--event", type=ID, help="with --failed: only of this event")
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="with --failed: at most so many"
)
def replay(delivery_ids: tuple[int, ...], failed: bool, channel: str | None, event: int | None, limit: int) -> None:
    """Send deliveries again that failed, were skipped or wait.

    They go now, and have all their tries again.
    """
    if bool(delivery_ids) == failed:
        raise click.UsageError("Say either the ids of deliveries or --failed.")
    with transaction() as session:
        if failed:
            replayed = work.replay_failed(session, channel, event, limit)
            doors = set(work.DOORS.values() if channel is None else [work.DOORS[channel]]) if replayed else set()
        else:
            doors = {work.replay(session, delivery_id) for delivery_id in delivery_ids}
            replayed = list(delivery_ids)
        if replayed:
            audit.record(
                session, Actor(COMMAND_LINE), "delivery.replay", details=audit.shortened([str(one) for one in replayed])
            )
    for door in sorted(doors):
        ring(door)
    click.echo(f"{len(replayed)} to be sent again")


def _add_row(table: Table, *cells: Any) -> None:
    """As they are: brackets in what a server said are no markup."""
    table.add_row(*map(cell, cells))
