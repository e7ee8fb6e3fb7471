"""The command line, `stagebloom`: each command is a door to work that stands elsewhere.

Prints causes, not tracebacks. `--json` is for machines; tables and progress bars are for people.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from shared import migrations
from shared.audit import COMMAND_LINE, Actor, record, shortened
from shared.commands.archive import archive
from shared.commands.audit import audit
from shared.commands.deliveries import deliveries
from shared.commands.doctor import doctor
from shared.commands.events import events
from shared.commands.import_django import import_django
from shared.commands.people import people
from shared.commands.selftest import selftest
from shared.commands.send import send
from shared.commands.service import service
from shared.commands.statistics import connections, queue, stats
from shared.commands.tables import print_tables
from shared.commands.templates import templates
from shared.database import engine, transaction
from shared.errors import NotificationError
from shared.logs import configure_logs
from shared.models import USER
from shared.seed import seed as make_people
from shared.seed import seed_demo
from shared.settings import NO_SERVERS, Settings, environment_name, get_settings
from shared.tokens import issue_token

PEOPLE_BY_ID = text("SELECT external_id FROM users WHERE external_id = ANY(CAST(:ids AS text[])) AND is_active")
PEOPLE_OF_ROLE = text("""
    SELECT external_id FROM memberships JOIN users ON users.id = user_id AND is_active
    WHERE group_name = :name ORDER BY users.id LIMIT :limit
""")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stagebloom")
def cli() -> None:
    """Role-based notifications: run the service, look into it, send through it."""
    configure_logs(get_settings())


cli.add_command(archive)
cli.add_command(deliveries)
cli.add_command(doctor)
cli.add_command(selftest)
cli.add_command(audit)
cli.add_command(events)
import_django.short_help = "Bring people and notifications over from Django."
cli.add_command(import_django)
cli.add_command(people)
cli.add_command(send)
cli.add_command(service)
cli.add_command(stats)
cli.add_command(connections)
cli.add_command(queue)
cli.add_command(templates)


def main() -> None:
    """The entry point: runs a command and prints what went wrong in one line."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except NotificationError as error:
        sys.exit(f"stagebloom: {error.message}")
    except OperationalError as error:
        settings = get_settings()
        hint = (
            f" ({NO_SERVERS.format(data_dir=settings.data_dir, key='DATABASE_URL')})"
            if settings.embedded_database
            else ""
        )
        sys.exit(f"stagebloom: the database can't be reached: {_cause(error)}{hint}")
    except ProgrammingError as error:
        sys.exit(f"stagebloom: the database is not as this version expects; try `stagebloom migrate`: {_cause(error)}")
    except UnicodeEncodeError:
        sys.exit("stagebloom: expected arguments in UTF-8")
    except BrokenPipeError:
        sys.exit(1)


def _cause(error: DBAPIError) -> str:
    """The first line of what PostgreSQL says; the others repeat the statement."""
    return str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__


@cli.command()
def run() -> None:
    """Start everything and print the address; Ctrl-C stops it."""
    from shared import supervisor

    supervisor.run(get_settings())


@cli.command()
@click.option(
    "--to", "revision", default="head", show_default=True, help='revision to go to; "base" removes everything'
)
@click.option("--status", is_flag=True, help="only say where the database is")
def migrate(revision: str, status: bool) -> None:
    """Bring the database's tables up to date."""
    database = engine()
    before = migrations.current(database)
    if status:
        newest = migrations.head()
        click.echo(
            f"at {before or 'nothing'}, newest is {newest}" + ("" if before == newest else ": run `stagebloom migrate`")
        )
        return
    if revision == "base" or (before is not None and revision.isdigit() and int(revision) < int(before)):
        click.confirm(f"This goes back from {before} to {revision} and deletes what came since. Go on?", abort=True)
        migrations.downgrade(database, revision)
    else:
        migrations.upgrade(database, revision)
    click.echo(f"{before or 'nothing'} → {migrations.current(database) or 'nothing'}")


@cli.command()
@click.option("--people", type=click.IntRange(1, 100_000_000), help="how many to add")
@click.option("--demo", is_flag=True, help="put in the demonstration company, unless there are people already")
def seed(people: int | None, demo: bool) -> None:
    """Add made-up people, or the demonstration company.

    90 % are stagiaire, 8 % tuteur, 1.5 % rh, 0.5 % admin, with their stages.
    """
    settings = get_settings()
    if demo == (people is not None):
        raise click.UsageError("Say either --people N or --demo.")
    if demo:
        click.echo(
            "The demonstration company is in."
            if seed_demo(settings)
            else "There are people already: nothing was added."
        )
    elif people:
        columns = (TextColumn("people"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task("people", total=people)
            for done in make_people(settings, people):
                progress.update(bar, completed=done)
        click.echo(f"{people} people added.")


@cli.command()
@click.argument("person", nargs=-1)
@click.option("--role", help="for the people of this role instead")
@click.option("--limit", type=click.IntRange(1), help="at most so many of the role")
@click.option(
    "--lifetime",
    type=click.IntRange(1, 10 * 365 * 86_400),
    help="seconds the tokens are good for; default TOKEN_LIFETIME_SECONDS",
)
def token(person: tuple[str, ...], role: str | None, limit: int | None, lifetime: int | None) -> None:
    """Print bearer tokens for people, one a line.

    People are named by the application's ids.
    """
    if bool(person) == bool(role):
        raise click.UsageError("Say either the ids of people or --role ROLE.")
    settings = get_settings()
    with transaction(settings) as session:
        if role:
            found = list(session.scalars(PEOPLE_OF_ROLE, {"name": f"role_{role}", "limit": limit}))
            if not found:
                raise click.ClickException(f"nobody has the role {role!r}")
        else:
            known = set(session.scalars(PEOPLE_BY_ID, {"ids": list(person)}))
            unknown = [one for one in person if one not in known]
            if unknown:
                raise click.ClickException(f"not a known, active person: {', '.join(unknown)}")
            found = list(person)
        tokens = [issue_token(settings, external_id, lifetime) for external_id in found]
        details = {
            **shortened([USER + external_id for external_id in found]),
            "lifetime_seconds": lifetime or settings.token_lifetime_seconds,
        }
        record(session, Actor(COMMAND_LINE), "token.issue", details=details)
    for one in tokens:
        click.echo(one)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="print JSON: {NAME: value}")
def settings(as_json: bool) -> None:
    """Print every setting in effect.

    The addresses of the embedded servers and of the gateway are among them.
    """
    current = get_settings()
    values = {environment_name(name): _shown(current, name) for name in Settings.model_fields}
    if as_json:
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
        return
    for name, info in Settings.model_fields.items():
        key = environment_name(name)
        meaning = Padding(Text(info.description or "", style="dim"), (0, 0, 0, 4), expand=False)
        click.echo(f"{key}={_without_password(_as_set(values[key]))}")
        print_tables(meaning)


def _shown(current: Settings, name: str) -> Any:
    """A setting's value as JSON has it; secrets only say that they are set."""
    if name == "secret_key":
        return "(set)" if current.secret_key else "(kept in DATA_DIR)"
    if name == "webhook_secret":
        return current.webhook_secret and "(set)"
    if name in ("database_url", "redis_url", "broker_url"):
        try:
            address = str(getattr(current, name.removesuffix("_url")))
        except NotificationError:
            return None  # no server is running
        return address.replace("postgresql+psycopg2://", "postgresql://")
    if name == "public_url":
        return current.public_address
    if name == "demo":
        return current.is_demo
    value = getattr(current, name)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, (int, str, bool, type(None))) else str(value)


def _as_set(value: Any) -> str:
    """A value as the environment has it: true, admin,rh or admin=100,rh=20; nothing where there is none."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}={number}" for key, number in value.items())
    return "" if value is None else str(value)


def _without_password(value: str) -> str:
    head, at, tail = value.rpartition("@")
    return f"{head.rpartition(':')[0]}:•••@{tail}" if at and "://" in head else value
