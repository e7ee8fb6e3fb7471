"""`stagebloom events`: the newest events, and one event's whole story."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.table import Column, Table
from rich.text import Text

from shared.catalog import load_catalog
from shared.commands.tables import Field, cell, moment, print_rows, print_tables, say_more
from shared.database import transaction
from shared.models import EVENT_STATUSES, NotificationEvent
from shared.settings import get_settings
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
SHOWN_TERMS = 3  # of an audience, in the list
SPARE = {"batches": 2, "stored_at": 1}  # of a plan, where the terminal is narrow
SHOWN_IF_SET = ("link", "thread_key", "idempotency_key", "attempts", "retry_at", "error")


class EventId(click.ParamType[int]):
    """The number of an event."""

    name = "event id"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> int:
        """The number. Fails for what is none."""
        if not (str(value).isascii() and str(value).isdigit() and int(value) < 1 << 53):
            said = "is no event id: that is a number such as 385875968000001; `stagebloom events list` shows them"
            self.fail(f"{value!r} {said}", param, context)
        return int(value)


@click.group(invoke_without_command=True)
@click.pass_context
def events(context: click.Context) -> None:
    """List the newest events, or show one's whole story."""
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
        found = newest.limit(limit + 1).all()
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
        for event in found[:limit]
    ]
    if not rows:
        click.echo(_none_of(status, event_type), err=True)
        return
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    fields = (
        Field("id"),
        Field("created"),
        Field("type"),
        Field("audience", free=True),
        Field("status"),
        Field("people", spare=2),
        Field("error", free=True, spare=1 if any(row["error"] for row in rows) else 3),
    )
    print_rows(
        fields,
        [
            (
                row["id"],
                moment(row["created_at"]),
                row["event_type"],
                ", ".join(row["audience"][:SHOWN_TERMS]) + (" …" if len(row["audience"]) > SHOWN_TERMS else ""),
                row["status"],
                row["recipients"],
                row["error"],
            )
            for row in rows
        ],
    )
    if len(found) > limit:
        say_more(limit)


def _none_of(status: str | None, event_type: str | None) -> str:
    said = "no events" + f" of type {event_type!r}" * bool(event_type) + f" with status {status!r}" * bool(status)
    if event_type is not None and event_type not in load_catalog(get_settings().catalog_file):
        said += "; the catalogue has no such type"
    return said


@events.command()
@click.argument("event_id", type=EventId())
@click.option("--json", "as_json", is_flag=True, help="print JSON")
def show(event_id: int, as_json: bool) -> None:
    """Tell one event's whole story: its plan, counts and deliveries."""
    with transaction() as session:
        story = tell_story(session, event_id)
    if as_json:
        click.echo(json.dumps({**story, "summary": what_stands(story)}, indent=2, ensure_ascii=False))
        return
    facts = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None)
    for locale, words in story["texts"].items():
        _add_row(facts, f"text, {locale}", f"{words['title']}\n{words['message']}")
    for name in (*SHOWN_ALWAYS, *(name for name in SHOWN_IF_SET if story[name])):
        value = moment(story[name]) if name.endswith("_at") else story[name]
        _add_row(facts, name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value)
    if story["data"]:
        _add_row(facts, "data", json.dumps(story["data"], ensure_ascii=False))
    for name, group in story["groups"].items():
        _add_row(facts, f"group {name}", f"{group['members']} members now" if group["known"] else "not known")
    print_tables(Text(f"event {event_id}", style="bold"), facts)
    for title, rows in (
        ("plan", story["plan"]),
        ("deliveries", story["deliveries"]),
        ("counts", [story["counts"]] if story["counts"] else []),
    ):
        if rows:
            fields = [Field(name.replace("_", " "), name == "error", SPARE.get(name, 0)) for name in rows[0]]
            print_rows(fields, [[_cell(*item) for item in row.items()] for row in rows], title)
    print_tables(Text(what_stands(story)))


def _cell(name: str, value: Any) -> Any:
    return moment(value) if name.endswith("_at") else value


def _add_row(table: Table, *cells: Any) -> None:
    """As they are: brackets in a text are no markup."""
    table.add_row(*map(cell, cells))
