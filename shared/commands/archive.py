"""`stagebloom archive`: look into the weeks that were archived before they were dropped."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from shared.archive import find_archive, list_archives, read_archive, read_events
from shared.commands.tables import cell, print_tables
from shared.frames import choose_locale
from shared.settings import get_settings

MAX_ROWS = 1000  # a table is laid out as a whole

as_json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")


def _directory() -> Path:
    directory = get_settings().notification_archive_dir
    if directory is None:
        raise click.ClickException(
            "NOTIFICATION_ARCHIVE_DIR is not set: old notifications are dropped without being archived"
        )
    return directory


@click.group()
def archive() -> None:
    """Read archived notifications back: list, show, read.

    Archives are written before a week of notifications is dropped, in NOTIFICATION_ARCHIVE_DIR.
    """


@archive.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List the archives, oldest first."""
    found = [one.as_dict() for one in list_archives(_directory())]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    table = Table("name", "from", "until", "events", "notifications", "size")
    for one in found:
        table.add_row(
            one["name"],
            one["from"][:10],
            one["until"][:10],
            f"{one['events']:,}",
            f"{one['notifications']:,}",
            f"{one['bytes'] / 1e6:,.1f} MB",
        )
    print_tables(table)


@archive.command()
@click.argument("name")
@as_json_option
def show(name: str, as_json: bool) -> None:
    """Say what one archive holds: its events, by type and category."""
    found = find_archive(_directory(), name)
    types = Counter((event["event_type"], event["category"]) for event in read_events(found))
    kinds = [
        {"event_type": event_type, "category": category, "events": count}
        for (event_type, category), count in types.most_common()
    ]
    if as_json:
        click.echo(json.dumps({**found.as_dict(), "types": kinds}, indent=2, ensure_ascii=False))
        return
    click.echo(
        f"{found.name}: {found.events:,} events, {found.notifications:,} notifications, {found.from_:%Y-%m-%d} to {found.until:%Y-%m-%d}"
    )
    table = Table("type", "category", "events")
    for kind in kinds:
        table.add_row(cell(kind["event_type"]), cell(kind["category"]), f"{kind['events']:,}")
    print_tables(table)


@archive.command()
@click.argument("name")
@click.option("--person", help="only the notifications of this person, by the application's id")
@click.option("--limit", type=click.IntRange(1), help="at most so many; none: all as JSON, 1000 in a table")
@click.option("--json", "as_json", is_flag=True, help="print JSON, one notification a line")
def read(name: str, person: str | None, limit: int | None, as_json: bool) -> None:
    """Print the notifications of one archive, oldest first."""
    settings = get_settings()
    most = limit or (None if as_json else MAX_ROWS)
    table = Table("created", "person", "title", "message", "read")
    for notification in islice(read_archive(find_archive(_directory(), name), person), most):
        if as_json:
            click.echo(json.dumps(notification, ensure_ascii=False))
        else:
            table.add_row(*map(cell, _cells(notification, settings.default_locale)))
    if not as_json:
        print_tables(table)


def _cells(notification: dict[str, Any], locale: str) -> tuple[str, ...]:
    event = notification["event"]
    words = (
        event["texts"][choose_locale(event["texts"], None, locale)]
        if event.get("texts")
        else {"title": "", "message": ""}
    )
    return (
        str(event.get("created_at", ""))[:19],
        notification.get("person") or "(erased)",
        words["title"],
        words["message"],
        str(notification.get("read_at", ""))[:19],
    )
