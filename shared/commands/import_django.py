"""`stagebloom import-django`: people, roles, stages, notifications and templates of the earlier Django system."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from shared.audience import NAME, NAME_EXPECTED
from shared.commands.tables import print_tables
from shared.importing.django_import import Report, import_all
from shared.importing.django_source import DjangoSource, open_source
from shared.importing.mapping import Mapping, flag
from shared.importing.parity import Difference, compare
from shared.importing.rules import Rules, printable, taken_since
from shared.models import NOTIFICATION_TYPES, ROLE
from shared.settings import get_settings

SHOWN_DIFFERENCES = 100
SHOWN_CHARACTERS = 200  # of each value that differs


def _mapping_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each table and column: --users-table, --role-column, …"""
    for one in reversed(fields(Mapping)):
        option = click.option(
            flag(one.name), one.name, default=one.default, show_default=True, help=one.metadata["help"]
        )
        command = option(command)
    return command


@click.command("import-django")
@click.option("--source", required=True, envvar="IMPORT_SOURCE", help="postgresql://… or sqlite:////path; only read")
@click.option("--dry-run", is_flag=True, help="only report what would come and what can't")
@click.option("--check", is_flag=True, help="only compare old with new, person by person; 1 when they differ")
@click.option("--all", "everything", is_flag=True, help="also what is older than NOTIFICATION_RETENTION_DAYS")
@click.option("--type", "types", multiple=True, metavar="OLD=NEW", help="take an old type for one of this system's")
@click.option("--role", "roles", multiple=True, metavar="OLD=NEW", help="take an old role by another name")
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="OLD=NEW",
    help="an old template's name here: event_type or event_type.action",
)
@click.option("--timezone", default="UTC", show_default=True, help="of times without a zone (USE_TZ = False)")
@click.option("--json", "as_json", is_flag=True, help="print JSON")
@_mapping_options
def import_django(
    source: str,
    dry_run: bool,
    check: bool,
    everything: bool,
    types: tuple[str, ...],
    roles: tuple[str, ...],
    templates: tuple[str, ...],
    timezone: str,
    as_json: bool,
    **mapping: str,
) -> None:
    """Bring over people, roles, stages, notifications and templates of the earlier Django system.

    It may be interrupted and run again: it adds what is missing and doubles nothing. Options with OLD=NEW may be
    given several times. See docs/migration.md.
    """
    if dry_run and check:
        raise click.UsageError("Say either --dry-run or --check.")
    settings = get_settings()
    now = datetime.now(UTC)
    since = None if everything else taken_since(now, settings.notification_retention_days)
    rules = Rules(
        since,
        now,
        _zone(timezone),
        _pairs("--type", types, ", ".join(NOTIFICATION_TYPES), NOTIFICATION_TYPES.__contains__),
        _pairs("--role", roles, NAME_EXPECTED, lambda name: bool(name and NAME.fullmatch(ROLE + name))),
        _pairs("--template", templates, "event_type or event_type.action", bool),
    )
    with open_source(source, Mapping(**mapping)) as old:
        if check:
            _check(old, rules, as_json)
            return
        report = Report()
        with _progress() as progress:
            people = progress.add_task("people", total=old.count_people())
            notifications = progress.add_task("notifications", total=old.count_notifications())
            for report in import_all(settings, old, rules, dry_run=dry_run):
                progress.update(people, completed=report.people)
                progress.update(notifications, completed=report.notifications)
    print_report(report, dry_run=dry_run, as_json=as_json)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(
            f"expected a name such as Europe/Paris, got {name!r}", param_hint="--timezone"
        ) from None


def _pairs(option: str, pairs: tuple[str, ...], expected: str, is_one: Callable[[str], bool]) -> dict[str, str]:
    """OLD=NEW as a dictionary; an old name may have = in it."""
    found = {}
    for pair in pairs:
        old, _, new = pair.rpartition("=")
        if not old or not is_one(new):
            raise click.BadParameter(f"expected OLD=NEW, NEW {expected}, got {pair!r}", param_hint=option)
        found[old] = new
    return found


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def print_report(report: Report, *, dry_run: bool, as_json: bool) -> None:
    """What came, or in a dry run what would, and what was left out or changed and why."""
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **report.as_dict()}, ensure_ascii=False))
        return
    if dry_run:
        click.echo(
            f"{report.people:,} people, {report.people_added:,} of them not here yet; {report.notifications_taken:,} of"
            f" {report.notifications:,} notifications and {report.templates_taken:,} of {report.templates:,} templates"
            " can be taken. Nothing was changed."
        )
    else:
        click.echo(
            f"{report.people_added:,} of {report.people:,} people added; {report.notifications_added:,} of"
            f" {report.notifications:,} notifications, as {report.events_added:,} events;"
            f" {report.notifications_marked_read:,} marked read; {report.templates_added:,} of {report.templates:,}"
            " templates, not active."
        )
    if report.missing:
        click.echo(f"Not there, so it counts as empty: {', '.join(report.missing)}.")
    if report.remarks.counts:
        table = Table("not taken, or not as it was", "rows", "for example")
        for one in report.remarks.as_list():
            table.add_row(Text(one["reason"]), f"{one['rows']:,}", Text(", ".join(one["examples"])))
        print_tables(table)


def _check(old: DjangoSource, rules: Rules, as_json: bool) -> None:
    people = notifications = different = 0
    shown: list[Difference] = []
    with _progress() as progress:
        bar = progress.add_task("people", total=old.count_people())
        for chunk in compare(get_settings(), old, rules):
            people += chunk.people
            notifications += chunk.notifications
            different += len(chunk.differences)
            shown += chunk.differences[: SHOWN_DIFFERENCES - len(shown)]
            progress.update(bar, completed=people)
    if as_json:
        listed = [{"person": one.person, "what": one.what, "old": one.old, "new": one.new} for one in shown]
        click.echo(
            json.dumps(
                {"people": people, "notifications": notifications, "differences": different, "first": listed},
                ensure_ascii=False,
            )
        )
    else:
        click.echo(
            f"{people:,} people with {notifications:,} notifications compared: {different or 'no'} difference{'' if different == 1 else 's'}."
        )
        if shown:
            table = Table("person", "what", "old", "new")
            for one in shown:
                table.add_row(
                    *(Text(printable(cell, SHOWN_CHARACTERS)) for cell in (one.person, one.what, one.old, one.new))
                )
            print_tables(table)
    if different:
        sys.exit(1)
