"""`stagebloom events`: the newest events, and one event's whole story."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from shared.commands.tables import print_tables
from shared.database import transaction
from shared.models import EVENT_STATUSES, NotificationEvent
from shared.story import tell_story, what_stands

SHOWN_ALWAYS = (
    "event_type",
    "category",
    "notification_type",
    "priority",
    "audience",
    "exclude",
    "source",
    "source_user",
    "status",
    "lane",
    "created_at",
    "planned_at",
    "processed_at",
    "recipient_count",
)
SHOWN_IF_SET = ("link", "thread_key", "idempotency_key", "attempts", "retry_at", "error")


@click.group(invoke_without_command=True)
@click.pass_context
def events(context: click.Context) -> None:
    """List the newest events and what became of them, or `show` one's whole story."""
    if context.invoked_subcommand is None:
        context.invoke(list_events)


@events.command("list")
@click.option("--status", type=click.Choice(EVENT_STATUSES), help="only these")
@click.option("--type", "event_type", help='only this event type, such as "stage_update"')
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="how many, newest first")
@click.option("--json", "as_json", is_flag=True, help="print JSON, one event a line")
def list_events(status: str | None, event_type: str | None, limit: int, as_json: bool) -> None:
    """List the newest events and what became of them."""
    wanted = {name: value for name, value in (("status", status), ("event_type", event_type)) if value is not None}
    with transaction() as session:
        newest = session.query(NotificationEvent).filter_by(**wanted).order_by(NotificationEvent.id.desc())
        found = newest.limit(limit).all()
    rows: list[dict[str, Any]] = [
        {
            "id": event.id,
            "created_at": event.created_at.isoformat(timespec="seconds"),
            "event_type": event.event_type,
            "audience": [" & ".join(term) for term in event.audience],
            "status": event.status,
            "recipients": event.recipient_count,
            "error": event.error,
        }
        for event in found
    ]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    table = Table(Column("id", no_wrap=True), "created", "type", "audience", "status", "people", "error")
    for row in rows:
        audience = ", ".join(row["audience"][:3]) + (" …" if len(row["audience"]) > 3 else "")
        cells = (
            row["id"],
            row["created_at"],
            row["event_type"],
            audience,
            row["status"],
            row["recipients"],
            row["error"],
        )
        _add_row(table, *cells)
    print_tables(table)


@events.command()
@click.argument("event_id", type=click.IntRange(0, (1 << 53) - 1))
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show(event_id: int, as_json: bool) -> None:
    """Tell one event's whole story: who, what, its plan, its counts and its deliveries."""
    with transaction() as session:
        story = tell_story(session, event_id)
    if as_json:
        click.echo(json.dumps({**story, "summary": what_stands(story)}, indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    facts = Table(Column(), Column(), show_header=False, box=None)
    for locale, words in story["texts"].items():
        _add_row(facts, f"text, {locale}", f"{words['title']}\n{words['message']}")
    for name in (*SHOWN_ALWAYS, *(name for name in SHOWN_IF_SET if story[name])):
        value = story[name]
        _add_row(facts, name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value)
    if story["data"]:
        _add_row(facts, "data", json.dumps(story["data"], ensure_ascii=False))
    for name, group in story["groups"].items():
        _add_row(facts, f"group {name}", f"{group['members']} members now" if group["known"] else "not known")
    console.print(f"event {event_id}", style="bold")
    console.print(facts)
    for title, rows in (
        ("plan", story["plan"]),
        ("deliveries", story["deliveries"]),
        ("counts", [story["counts"]] if story["counts"] else []),
    ):
        if rows:
            table = Table(*rows[0], title=title, title_justify="left")
            for row in rows:
                _add_row(table, *row.values())
            console.print(table)
    console.print(what_stands(story), markup=False)


def _add_row(table: Table, *cells: Any) -> None:
    """As they are: brackets in a text are no markup."""
    table.add_row(*(Text("" if cell is None else str(cell)) for cell in cells))
