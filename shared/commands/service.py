"""`stagebloom service`: programs that act over HTTP, and their keys."""

from __future__ import annotations

import json
from typing import Any

import click

from shared import audit, services
from shared.audit import COMMAND_LINE, Actor
from shared.commands.tables import Field, moment, print_rows
from shared.database import transaction

ACTOR = Actor(COMMAND_LINE)
SHOWN_ONCE = "This key is not kept and can't be shown again; it is sent as `Authorization: Bearer <key>`."


@click.group()
def service() -> None:
    """Let programs act over HTTP: add, list, rotate, disable."""


@service.command()
@click.argument("name")
@click.option(
    "--may",
    "permissions",
    multiple=True,
    type=click.Choice(services.PERMISSIONS),
    help="what it may do; both unless said otherwise",
)
def add(name: str, permissions: tuple[str, ...]) -> None:
    """Make a service known and print its key, once."""
    with transaction() as session:
        key = services.add_service(session, name, permissions or services.PERMISSIONS)
        audit.record(session, ACTOR, "service.add", name, {"permissions": list(permissions or services.PERMISSIONS)})
    _print_key(key)


@service.command("list")
@click.option("--json", "as_json", is_flag=True, help="print JSON, one service a line")
def list_(as_json: bool) -> None:
    """List services, what they may do and when they were last used.

    That is kept to the minute.
    """
    with transaction() as session:
        rows: list[dict[str, Any]] = [
            {"name": one.name, "permissions": one.permissions, "is_active": one.is_active,
             "created_at": one.created_at.isoformat(timespec="seconds"),
             "last_used_at": one.last_used_at and one.last_used_at.isoformat(timespec="seconds")}
            for one in services.list_services(session)
        ]  # fmt: skip
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    fields = (Field("name"), Field("may"), Field("active"), Field("created", spare=1), Field("last used"))
    print_rows(
        fields,
        [
            (
                row["name"],
                ", ".join(row["permissions"]),
                "yes" if row["is_active"] else "no",
                moment(row["created_at"]),
                moment(row["last_used_at"]) or "never",
            )
            for row in rows
        ],
    )


@service.command()
@click.argument("name")
def rotate(name: str) -> None:
    """Print a new key, once; the old one ends at once."""
    with transaction() as session:
        key = services.rotate_key(session, name)
        audit.record(session, ACTOR, "service.rotate", name)
    _print_key(key)


@service.command()
@click.argument("name")
def disable(name: str) -> None:
    """End a service's key at once; `rotate` lets it in again."""
    with transaction() as session:
        services.disable_service(session, name)
        audit.record(session, ACTOR, "service.disable", name)
    click.echo(f"{name} is disabled")


def _print_key(key: str) -> None:
    """The key alone on standard output, so that it can be piped to where it belongs."""
    click.echo(key)
    click.echo(SHOWN_ONCE, err=True)
