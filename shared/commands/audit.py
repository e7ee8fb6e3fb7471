"""`stagebloom audit`: who did what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from shared.audit import Filters, as_json, list_records, shortened
from shared.commands.tables import Field, moment, print_rows, say_more
from shared.database import transaction

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"])
SHOWN = 5  # names of a list in a table
EMPTY = shortened([])


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
        found, more = list_records(session, filters, limit)
        rows = [as_json(row) for row in found]
    if not rows:
        said = [f" of action {action!r}"] * bool(action) + [f" by {actor!r}"] * bool(actor)
        click.echo("no records" + "".join(said), err=True)
        return
    if is_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    fields = (
        Field("at"),
        Field("actor"),
        Field("action"),
        Field("target"),
        Field("details", free=True, below=True),
        Field("address", spare=1),
    )
    names = ("actor", "action", "target")
    print_rows(
        fields,
        [
            (moment(row["at"]), *(row[name] for name in names), _in_words(row["details"]), row["address"])
            for row in rows
        ],
    )
    if more:
        say_more(len(rows))


def _in_words(details: Mapping[str, Any]) -> str:
    """`event_type: system; audience: role_rh, role_admin`: what JSON says, on few lines."""
    return "; ".join(
        f"{name}: {_value(value)}" for name, value in details.items() if value not in (EMPTY, [], {}, None)
    )


def _value(value: Any) -> str:
    if isinstance(value, dict) and set(value) == {"count", "first"}:
        rest = value["count"] - len(value["first"][:SHOWN])
        return ", ".join(map(str, value["first"][:SHOWN])) + (f" and {rest} more" if rest else "")
    if isinstance(value, list) and all(isinstance(item, (str, int)) for item in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
