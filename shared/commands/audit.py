"""`stagebloom audit`: who did what."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
from rich.table import Column, Table

from shared.audit import Filters, as_json, list_records
from shared.commands.tables import print_tables
from shared.database import transaction

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])


@click.command()
@click.option("--actor", help="such as user_42, service:billing or cli")
@click.option("--action", help="such as notification.send, template.change or permission.refused")
@click.option("--since", type=MOMENT, help="UTC")
@click.option("--until", type=MOMENT, help="UTC")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="how many, newest first")
@click.option("--json", "is_json", is_flag=True, help="print JSON, one record a line")
def audit(
    actor: str | None, action: str | None, since: datetime | None, until: datetime | None, limit: int, is_json: bool
) -> None:
    """List who did what to what, newest first."""
    filters = Filters(actor, action, since and since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC))
    with transaction() as session:
        rows = [as_json(row) for row in list_records(session, filters, limit)[0]]
    if is_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    table = Table(Column("at", no_wrap=True), "actor", "action", "target", "details", "address")
    for row in rows:
        table.add_row(
            row["at"][:19],
            row["actor"],
            row["action"],
            row["target"],
            json.dumps(row["details"], ensure_ascii=False),
            row["address"] or "",
        )
    print_tables(table)
