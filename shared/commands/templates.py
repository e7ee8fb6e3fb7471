"""`stagebloom templates`: look at the application's own words, change them, and go back."""

from __future__ import annotations

import json
from typing import Any, TextIO

import click
from rich.table import Table

from shared import audit
from shared import templates as work
from shared.audit import COMMAND_LINE, Actor
from shared.commands.tables import cell, print_tables
from shared.database import transaction
from shared.models import FORMATS, NotificationTemplate
from shared.templates import CHANGE, TemplateDraft

as_json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")
name_argument = click.argument("name")
locale_argument = click.argument("locale")
version_option = click.option(
    "--version", type=click.IntRange(1), help="which one; default: the active one, or else the newest"
)


@click.group()
def templates() -> None:
    """Put words of your own in place of the catalogue's.

    A template has a name, such as stage_update or stage_update.completed, a locale and versions.
    """


@templates.command("list")
@as_json_option
def list_(as_json: bool) -> None:
    """List every name and locale with its versions and faults.

    Faults are how many of the newest events it failed.
    """
    with transaction() as session:
        found = work.list_templates(session)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table("name", "locale", "newest", "active", "faults")
    for one in found:
        active = one["active_version"]
        table.add_row(
            cell(one["name"]),
            cell(one["locale"]),
            str(one["newest_version"]),
            "the catalogue" if active is None else str(active),
            str(one["faults"]),
        )
    print_tables(table)


@templates.command()
@name_argument
@locale_argument
@version_option
@as_json_option
def show(name: str, locale: str, version: int | None, as_json: bool) -> None:
    """Print a version as `save` reads it.

    Its title is the first line, the message what follows.
    """
    with transaction() as session:
        found = work.get(session, name, locale, version)
    click.echo(
        json.dumps(work.as_json(found), indent=2, ensure_ascii=False) if as_json else f"{found.title}\n{found.message}"
    )


@templates.command()
@name_argument
@locale_argument
@click.argument("file", type=click.File(encoding="utf-8"))
@click.option(
    "--format", "text_format", type=click.Choice(FORMATS), default="plain", show_default=True, help="of the message"
)
@click.option(
    "--variable",
    "variables",
    multiple=True,
    help="a key of the data that the catalogue does not name; several may be given",
)
@click.option("--activate", "is_activated", is_flag=True, help="use it from the next event on")
def save(
    name: str, locale: str, file: TextIO, text_format: str, variables: tuple[str, ...], is_activated: bool
) -> None:
    """Check FILE (- for stdin) and keep it as the next version.

    Its first line is the title, what follows the message.
    """
    try:
        title, _, message = file.read().partition("\n")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file.name}: expected UTF-8: {error}") from None
    draft = TemplateDraft(
        name=name, locale=locale, title=title.strip(), message=message.strip(), format=text_format, variables=variables
    )
    with transaction() as session:
        saved = work.save(session, draft)
        _record(session, saved, "saved")
        if is_activated:
            _record(session, work.activate(session, name, locale, saved.version), "activated")
    click.echo(f"{name}/{locale} version {saved.version} saved" + (" and active" if is_activated else ""))


@templates.command()
@name_argument
@locale_argument
@click.argument("data", default="{}")
@version_option
def preview(name: str, locale: str, data: str, version: int | None) -> None:
    """Print what an event with DATA, a JSON object, would say."""
    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"expected a JSON object: {error}", param_hint="DATA") from None
    if not isinstance(parsed, dict):
        raise click.BadParameter("expected a JSON object", param_hint="DATA")
    with transaction() as session:
        draft = work.draft_of(work.get(session, name, locale, version))
    words = work.preview(draft, parsed)
    click.echo(f"{words.title}\n{words.message}")


@templates.command()
@name_argument
@locale_argument
@click.argument("version", type=click.IntRange(1))
def activate(name: str, locale: str, version: int) -> None:
    """Use a version, an earlier one as well, from the next event on."""
    with transaction() as session:
        _record(session, work.activate(session, name, locale, version), "activated")
    click.echo(f"{name}/{locale} version {version} is active")


@templates.command()
@name_argument
@locale_argument
def deactivate(name: str, locale: str) -> None:
    """Let the catalogue speak again."""
    with transaction() as session:
        found = work.get(session, name, locale)
        version = work.deactivate(session, name, locale)
        if version is not None:
            _record(session, found, "deactivated")
    click.echo(
        f"{name}/{locale}: " + ("none was active" if version is None else f"version {version} is no longer active")
    )


def _record(session: Any, template: NotificationTemplate, change: str) -> None:
    audit.record(
        session,
        Actor(COMMAND_LINE),
        CHANGE,
        f"{template.name}/{template.locale}",
        {"change": change, "version": template.version},
    )
