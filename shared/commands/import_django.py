"""`stagebloom import-django`: people, roles, stages and notifications of the earlier Django system."""

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

from shared.audit import COMMAND_LINE, Actor, record
from shared.commands.tables import print_tables
from shared.database import transaction
from shared.importing.django_import import Report, import_all
from shared.importing.django_source import DjangoSource, Mapping, open_source
from shared.importing.old_rows import Rules, taken_since
from shared.importing.parity import Difference, compare
from shared.models import NOTIFICATION_TYPES
from shared.settings import get_settings

SHOWN_DIFFERENCES = 100


def _mapping_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """One option for each table and column: --users-table, --role-column, …"""
    for one in reversed(fields(Mapping)):
        flag = "--" + one.name.replace("_", "-")
        command = click.option(flag, one.name, default=one.default, show_default=True, help=one.metadata["help"])(
            command
        )
    return command


@click.command("import-django")
@click.option("--source", required=True, envvar="IMPORT_SOURCE", help="postgresql://… or sqlite:////path; only read")
@click.option("--dry-run", is_flag=True, help="only report what would come and what can't")
@click.option("--check", is_flag=True, help="only compare old with new, person by person; 1 when they differ")
@click.option("--all", "everything", is_flag=True, help="also what is older than NOTIFICATION_RETENTION_DAYS")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="OLD=NEW",
    help="take an old type for one of this system's; several may be given",
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
    timezone: str,
    as_json: bool,
    **mapping: str,
) -> None:
    """Bring over people, roles, stages and notifications of the earlier Django system.

    May be interrupted and run again: it adds what is missing and doubles nothing. See docs/migration.md.
    """
    if dry_run and check:
        raise click.UsageError("Say either --dry-run or --check.")
    settings = get_settings()
    now = datetime.now(UTC)
    since = None if everything else taken_since(now, settings.notification_retention_days)
    rules = Rules(since, now, _zone(timezone), _types(types))
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
    if not dry_run:
        with transaction(settings) as session:
            record(
                session,
                Actor(COMMAND_LINE),
                "import.django",
                details={"people": report.people_added, "notifications": report.notifications_added},
            )
    _print_report(report, dry_run, as_json)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise click.BadParameter(
            f"expected a name such as Europe/Paris, got {name!r}", param_hint="--timezone"
        ) from None


def _types(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        old, _, new = pair.rpartition("=")
        if not old or new not in NOTIFICATION_TYPES:
            raise click.BadParameter(
                f"expected OLD=NEW, NEW one of {', '.join(NOTIFICATION_TYPES)}, got {pair!r}", param_hint="--type"
            )
        found[old] = new
    return found


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def _print_report(report: Report, dry_run: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **report.as_dict()}, ensure_ascii=False))
        return
    if dry_run:
        click.echo(
            f"{report.people:,} people, {report.people_added:,} of them not here yet; {report.notifications_taken:,} of {report.notifications:,} notifications can be taken. Nothing was changed."
        )
    else:
        click.echo(
            f"{report.people_added:,} of {report.people:,} people added; {report.notifications_added:,} of {report.notifications:,} notifications, as {report.events_added:,} events; {report.notifications_marked_read:,} marked read."
        )
    if report.refusals.counts:
        table = Table("not taken, because", "rows", "for example")
        for one in report.refusals.as_list():
            table.add_row(one["reason"], f"{one['rows']:,}", ", ".join(one["ids"]))
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
                table.add_row(one.person, one.what, str(one.old), str(one.new))
            print_tables(table)
    if different:
        sys.exit(1)
