"""What every command needs, and what it leaves in the audit log: one table whose rows come from the command line.

A command line has no person: whoever holds the servers' addresses and passwords may. So a row says what a
command needs, and the tests show that without it nothing is done and nothing shown.
"""

from __future__ import annotations

import io
import logging
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jwt
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

from shared import templates
from shared.archive import list_archives, write_archive
from shared.cli import cli, main
from shared.database import engine, transaction
from shared.models import Base
from shared.partitions import list_partitions
from shared.settings import Settings, get_settings
from shared.templates import TemplateDraft
from tests.company import Company
from tests.shared.test_cli import stagebloom

NOTHING = "nothing"
DATABASE = "the database's address and password"
ARCHIVES = "files in NOTIFICATION_ARCHIVE_DIR"
SYSTEM = "the database, and a system that runs: tests/producer/test_selftest.py and tests/shared/test_doctor.py"
SERVERS = "DATA_DIR, or servers of one's own"


@dataclass(frozen=True)
class Row:
    """What a command needs, how it is called for example, and which act of `cli` the audit log has then."""

    needs: str
    arguments: str = ""
    act: str = ""  # none: it only looks, and changes nothing


TABLE = {
    "settings": Row(NOTHING),
    "run": Row(SERVERS),
    "doctor": Row(SYSTEM),
    "selftest": Row(SYSTEM),  # with people of its own, who are removed again
    "archive list": Row(ARCHIVES),
    "archive show": Row(ARCHIVES, "{archive}"),
    "archive read": Row(ARCHIVES, "{archive}"),
    "audit": Row(DATABASE),
    "connections": Row(DATABASE),
    "queue": Row(DATABASE),
    "stats": Row(DATABASE),
    "events": Row(DATABASE),
    "events list": Row(DATABASE),
    "events show": Row(DATABASE, "{event}"),
    "deliveries list": Row(DATABASE),
    "deliveries show": Row(DATABASE, "{delivery}"),
    "deliveries replay": Row(DATABASE, "{delivery}", act="delivery.replay"),
    "people list": Row(DATABASE),
    "people show": Row(DATABASE, "42"),
    "people deactivate": Row(DATABASE, "42", act="people.deactivate"),
    "people activate": Row(DATABASE, "42", act="people.activate"),
    "people export": Row(DATABASE, "42", act="person.export"),
    "people erase": Row(DATABASE, "42 --yes", act="person.erase"),
    "service list": Row(DATABASE),
    "service add": Row(DATABASE, "payroll", act="service.add"),
    "service rotate": Row(DATABASE, "billing", act="service.rotate"),
    "service disable": Row(DATABASE, "billing", act="service.disable"),
    "templates list": Row(DATABASE),
    "templates show": Row(DATABASE, "system fr"),
    "templates preview": Row(DATABASE, "system fr"),
    "templates save": Row(DATABASE, "system fr -", act="template.change"),
    "templates activate": Row(DATABASE, "system fr 1", act="template.change"),
    "templates deactivate": Row(DATABASE, "system fr", act="template.change"),
    "import-django": Row(DATABASE, "--source {source}", act="import.django"),
    "migrate": Row(DATABASE),  # the tables themselves, the audit log among them
    "seed": Row(DATABASE, "--people 4", act="people.seed"),
    "send": Row(DATABASE, "--everyone --title T --message M", act="notification.send"),
    "token": Row(DATABASE, "42", act="token.issue"),  # and SECRET_KEY, or nobody accepts it
}
ADD = "add a row to TABLE here, saying what the command needs and what the audit log has of it"
ANYTHING = {"event": 1, "delivery": 1}  # where an example is refused before it is looked up
TEMPLATE = TemplateDraft(name="system", locale="fr", title="Titre", message="Message")
FAILED = text("""
    INSERT INTO deliveries (event_id, recipient_id, channel, status) VALUES (:event, :person, 'email', 'failed') RETURNING id
""")
EARLIER_SYSTEM = """
    CREATE TABLE accounts_user (id INTEGER, username TEXT);
    CREATE TABLE notification_service_notification
        (id INTEGER, recipient_id INTEGER, title TEXT, message TEXT, notification_type TEXT, is_read INTEGER, created_at TEXT);
    INSERT INTO accounts_user VALUES (7, 'anna');
"""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of everything that can be called."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(path)
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from leaves(part, (*path, name))


def needing(*needs: str) -> list[str]:
    return [command for command, row in TABLE.items() if row.needs in needs]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and the two outputs."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


@pytest.fixture
def call(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Call]:
    """Calls `stagebloom` in this process, with an environment; an empty value takes a variable away."""
    on_signal, log_handlers = signal.getsignal(signal.SIGTERM), logging.getLogger().handlers[:]

    def run(arguments: str, **environment: str) -> Done:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["stagebloom", *arguments.split()])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Titre\nMessage"), encoding="utf-8"))
        get_settings.cache_clear()
        capsys.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        shown = capsys.readouterr()
        said = code if isinstance(code, str) else ""  # as the interpreter prints it
        return Done(1 if said else code, shown.out, shown.err + said)

    yield run
    monkeypatch.undo()
    get_settings.cache_clear()
    logging.getLogger().handlers[:] = log_handlers
    signal.signal(signal.SIGTERM, on_signal)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """The earlier system's database."""
    file = tmp_path / "earlier.sqlite3"
    with sqlite3.connect(file) as earlier:
        earlier.executescript(EARLIER_SYSTEM)
    return f"sqlite:///{file}"


@pytest.fixture
def place(company: Company, settings: Settings, source: str) -> dict[str, Any]:
    """Everything that the examples name."""
    person = company.person("42", "role_rh")
    company.service("billing")
    event = company.notify("42")
    with transaction(settings) as session:
        delivery = session.execute(FAILED, {"event": event, "person": person}).scalar_one()
        templates.save(session, TEMPLATE)
        templates.activate(session, "system", "fr", templates.save(session, TEMPLATE).version)
    return {"event": event, "delivery": delivery, "source": source}


@pytest.fixture
def archive(settings: Settings, company: Company, tmp_path: Path) -> dict[str, str]:
    """An archive of the one notification there is."""
    company.person("42")
    company.notify("42")
    with Session(engine(settings)) as session:
        for partition in list_partitions(session):
            write_archive(session, partition, tmp_path)
    return {"archive": next(one.name for one in list_archives(tmp_path) if one.events), "directory": str(tmp_path)}


def contents(settings: Settings) -> dict[str, list[str]]:
    """Every row of every table."""
    with transaction(settings) as session:
        return {
            table.name: sorted(session.scalars(text(f"SELECT one::text FROM {table.name} AS one")))
            for table in Base.metadata.sorted_tables
        }


def refuses(done: Done, cause: str) -> None:
    """One clear line, and nothing else."""
    assert done.code == 1, done
    assert done.out == "", done
    assert cause in done.err
    assert len(done.err.strip().splitlines()) == 1, done


def test_every_command_has_a_row_and_every_row_a_command() -> None:
    exists = set(leaves(cli))
    assert exists - set(TABLE) == set(), ADD
    assert set(TABLE) - exists == set(), "these rows have no command any more: take them away"


@pytest.mark.parametrize("command", TABLE)
def test_how_to_use_it_is_told_without_anything(command: str, call: Call, tmp_path: Path) -> None:
    done = call(f"{command} --help", DATA_DIR=str(tmp_path))
    assert done.code == 0
    assert f"{command} [OPTIONS]" in done.out


@pytest.mark.parametrize("command", needing(NOTHING))
def test_what_needs_nothing_does_without_servers(command: str, call: Call, tmp_path: Path) -> None:
    assert call(command, DATA_DIR=str(tmp_path)).code == 0


@pytest.mark.parametrize("command", needing(DATABASE))
def test_with_what_it_needs_it_is_done_and_the_audit_log_says_so(
    command: str, call: Call, place: dict[str, Any], settings: Settings
) -> None:
    before = contents(settings)
    done = call(f"{command} {TABLE[command].arguments.format(**place)}")
    assert done.code == 0, done
    with transaction(settings) as session:
        acts = {(actor, action) for actor, action in session.execute(text("SELECT actor, action FROM audit_log"))}
    assert acts == ({("cli", TABLE[command].act)} if TABLE[command].act else set())
    assert bool(acts) or contents(settings) == before, "it changes something: let it say so in the audit log"


@pytest.mark.parametrize("command", needing(DATABASE))
def test_with_a_wrong_password_or_no_server_nothing_is_done(
    command: str, call: Call, source: str, settings: Settings, tmp_path: Path
) -> None:
    called = f"{command} {TABLE[command].arguments.format(source=source, **ANYTHING)}"
    done = call(called, DATABASE_URL=wrong(settings))
    refuses(done, "password authentication failed")
    assert "hunter2" not in done.err
    done = call(called, DATABASE_URL="", DATA_DIR=str(tmp_path))
    refuses(done, f"no server is running in {tmp_path}: start it with `stagebloom run`, or set DATABASE_URL")


@pytest.mark.parametrize("command", needing(ARCHIVES))
def test_archives_are_files_for_whoever_may_read_them(command: str, call: Call, archive: dict[str, str]) -> None:
    arguments = f"{command} {TABLE[command].arguments.format(**archive)}"
    refuses(call(arguments), "NOTIFICATION_ARCHIVE_DIR is not set")
    done = call(arguments, NOTIFICATION_ARCHIVE_DIR=archive["directory"])
    assert (done.code, done.err) == (0, "")


def test_the_doctor_names_what_it_can_not_reach_and_looks_at_no_table(
    call: Call, settings: Settings, tmp_path: Path
) -> None:
    for environment in ({"DATABASE_URL": wrong(settings)}, {"DATABASE_URL": "", "DATA_DIR": str(tmp_path)}):
        done = call("doctor", **environment)
        checks = {line.split(":")[0].split()[-1] for line in done.out.splitlines() if line.startswith(("✓", "•", "✗"))}
        assert (done.code, done.err) == (1, "")
        assert "✗ PostgreSQL: " in done.out
        assert checks == {"PostgreSQL", "Redis", "broker", "WebSocket"}
        assert "Traceback" not in done.out


def test_the_selftest_makes_nobody_up_without_the_database(call: Call, settings: Settings, tmp_path: Path) -> None:
    refuses(call("selftest", DATABASE_URL=wrong(settings)), "password authentication failed")
    refuses(call("selftest", DATABASE_URL="", DATA_DIR=str(tmp_path)), "no server is running")


def test_a_run_on_servers_of_ones_own_ends_when_the_password_is_wrong(settings: Settings, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = {"DATABASE_URL": wrong(settings), "REDIS_URL": settings.redis}
    done = stagebloom("run", **elsewhere, DATA_DIR=str(tmp_path), PORT=str(port))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "password authentication failed" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_token_that_is_signed_with_another_key_is_worth_nothing(
    call: Call, place: dict[str, Any], settings: Settings
) -> None:
    done = call("token 42", SECRET_KEY="k" * 32)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(done.out.strip(), settings.signing_key(), ["HS256"], audience="notifications")


def test_of_a_token_the_audit_log_has_for_whom_and_how_long(
    call: Call, place: dict[str, Any], session: Session
) -> None:
    call("token 42 --lifetime 60")
    details = session.execute(text("SELECT details FROM audit_log")).scalar_one()
    assert details == {"count": 1, "first": ["user_42"], "lifetime_seconds": 60}


def wrong(settings: Settings) -> str:
    """The database's address with another password."""
    address = make_url(settings.database).set(drivername="postgresql", password="hunter2")
    return address.render_as_string(hide_password=False)
