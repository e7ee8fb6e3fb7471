"""`stagebloom people`: who is known, and a person's data on request."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import audit, directory
from shared.audit import COMMAND_LINE, Actor
from shared.commands.tables import Field, cell, print_rows, print_tables, say_more
from shared.database import transaction
from shared.doorbell import ring
from shared.models import GATEWAY_DEAD_AFTER_SECONDS, ROLE, USER
from shared.privacy import unknown
from shared.privacy.erasure import ERASED, ERASING, LEAVING, erase_person
from shared.privacy.export import export_person
from shared.settings import get_settings
from shared.tasks import ANNOUNCE_PEOPLE, CLEAN_UP

SHOWN_GROUPS = 5

# Those who were erased an hour ago at most have a row, but no name.
LIST = """
    SELECT external_id AS id, name, email, locale, is_active,
           ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1) AS groups
    FROM users WHERE NOT (external_id ^@ ANY(CAST(:nobody AS text[]))) AND {conditions}
    ORDER BY users.id LIMIT :limit
"""
OF_ROLE = "id IN (SELECT user_id FROM memberships WHERE group_name = :role)"
WITHOUT_ROLE = "NOT EXISTS (SELECT FROM memberships WHERE user_id = users.id AND starts_with(group_name, :role_prefix))"
SHOW = text("""
    SELECT external_id AS id, name, email, phone, locale, timezone, is_active, created_at,
           ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1) AS groups,
           (SELECT count(*) FROM notifications WHERE recipient_id = users.id AND deleted_at IS NULL) AS notifications,
           (SELECT count(*) FROM notifications WHERE recipient_id = users.id AND deleted_at IS NULL AND read_at IS NULL) AS unread,
           (SELECT count(*) FROM websocket_connections JOIN gateways ON gateways.id = gateway_id
            WHERE user_id = users.id AND heard_at > now() - make_interval(secs => :dead)) AS connections
    FROM users WHERE external_id = :id
""").bindparams(dead=GATEWAY_DEAD_AFTER_SECONDS)

as_json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")


@click.group()
def people() -> None:
    """List people, let them in or out, export or erase them.

    People are named by the application's own ids.
    """


@people.command("list")
@click.option("--role", help='only who has this role, such as "rh"')
@click.option("--no-role", is_flag=True, help="only who has no role: nobody reaches them by one")
@click.option("--inactive", is_flag=True, help="only who is deactivated")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=50,
    show_default=True,
    help="how many, in the order they were recorded",
)
@click.option("--json", "as_json", is_flag=True, help="print JSON, one person a line")
def list_(role: str | None, no_role: bool, inactive: bool, limit: int, as_json: bool) -> None:
    """List people, their roles and other groups."""
    conditions = [
        *([OF_ROLE] if role else []),
        *([WITHOUT_ROLE] if no_role else []),
        "NOT is_active" if inactive else "true",
    ]
    values = {"role": f"{ROLE}{role}", "role_prefix": ROLE, "limit": limit + 1, "nobody": [LEAVING, ERASING, ERASED]}
    with transaction() as session:
        found = session.execute(text(LIST.format(conditions=" AND ".join(conditions))), values).mappings().all()
    rows = found[:limit]
    if as_json:
        for row in rows:
            click.echo(json.dumps(dict(row), ensure_ascii=False))
        return
    fields = (
        Field("id"),
        Field("name", free=True),
        Field("roles", free=True),
        Field("groups", free=True, spare=1),
        Field("language", spare=2),
        Field("active"),
    )
    shown = []
    for row in rows:
        roles = [name.removeprefix(ROLE) for name in row["groups"] if name.startswith(ROLE)]
        others = [name for name in row["groups"] if not name.startswith(ROLE)]
        groups = ", ".join(others[:SHOWN_GROUPS]) + (" …" if len(others) > SHOWN_GROUPS else "")
        cells = (
            row["id"],
            row["name"],
            ", ".join(roles) or "none",
            groups,
            row["locale"],
            "yes" if row["is_active"] else "no",
        )
        shown.append(cells)
    print_rows(fields, shown)
    if len(found) > limit:
        say_more(limit)


@people.command()
@click.argument("person")
@as_json_option
def show(person: str, as_json: bool) -> None:
    """Show a person, their groups, notifications and connections."""
    with transaction() as session:
        row = session.execute(SHOW, {"id": person}).mappings().one_or_none()
    if row is None:
        raise unknown(person)
    found = {**row, "created_at": row["created_at"].isoformat(timespec="seconds")}
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table(show_header=False)
    for name, value in found.items():
        table.add_row(name, cell(", ".join(value) if isinstance(value, list) else value))
    print_tables(table)


@people.command()
@click.argument("person", nargs=-1, required=True)
def deactivate(person: tuple[str, ...]) -> None:
    """Let people out.

    Their connections are closed, their tokens refused, and they get nothing more.
    """
    _set_active(person, False)


@people.command()
@click.argument("person", nargs=-1, required=True)
def activate(person: tuple[str, ...]) -> None:
    """Let people in again."""
    _set_active(person, True)


def _set_active(person: tuple[str, ...], active: bool) -> None:
    action = "people.activate" if active else "people.deactivate"
    with transaction() as session:
        changed = directory.set_active(session, person, active)
        audit.record(session, Actor(COMMAND_LINE), action, details=audit.shortened(person))
    ring(ANNOUNCE_PEOPLE)
    click.echo(f"{changed} of {len(person)} changed")


@people.command()
@click.argument("person")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="a file to write instead of standard output"
)
def export(person: str, output: Path | None) -> None:
    """Print everything about a person as JSON Lines.

    The last line counts them.
    """
    lines = export_person(_transact, person, get_settings().default_locale)
    _transact(lambda session: audit.record(session, Actor(COMMAND_LINE), "person.export", USER + person))
    if output is None:
        for line in lines:
            sys.stdout.write(line)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            output.chmod(0o600)
            file.writelines(lines)
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from None
    click.echo(f"everything about {person} is in {output}")


@people.command()
@click.argument("person")
@click.option("--yes", is_flag=True, help="do not ask")
def erase(person: str, yes: bool) -> None:
    """Erase a person and their notifications for good.

    Their name goes wherever it stands. What others were told stays. Archives follow within the hour.
    """
    with transaction() as session:
        row = session.execute(SHOW, {"id": person}).mappings().one_or_none()
    if row is None:
        raise unknown(person)
    question = f"This erases {row['name'] or person!r} and {row['notifications']} notifications for good. Go on?"
    if not yes and not click.confirm(question):
        click.echo("nothing was erased", err=True)
        raise click.Abort
    erased = erase_person(_transact, person, Actor(COMMAND_LINE), lambda: ring(ANNOUNCE_PEOPLE))
    ring(CLEAN_UP)
    click.echo(
        f"erased: {erased.notifications} notifications, {erased.events} events redacted; the audit log knows it as {erased.opaque_id}"
    )


def _transact(work: Callable[[Session], Any]) -> Any:
    with transaction() as session:
        return work(session)
