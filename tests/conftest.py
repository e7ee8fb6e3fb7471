"""Real servers for every test: one PostgreSQL and one Valkey per pytest process, started once.

A test that touches the database asks for `clean` (or for something that does: `session`, `company`,
`client`) and begins with empty tables; ids are never given twice, as in an installation. `system` is a
real gateway with real workers on the same servers. Nothing here reads the developer's environment:
tests can't reach a database that someone set.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared.database import engine
from shared.embedded import EmbeddedServers
from shared.events import DEADLOCK
from shared.logs import configure_logs
from shared.migrations import upgrade
from shared.redis import connect
from shared.settings import Settings, get_settings
from shared.tasks import BULK, DELIVERIES, EVENTS, UPKEEP
from tests.company import Company
from tests.system import System

TABLES = (
    "count_changes",
    "socket_times",
    "daily_counts",
    "daily_deliveries",
    "hourly_times",
    "websocket_connections",
    "audit_log",
    "services",
    "notification_templates",
    "notifications",
    "event_batches",
    "notification_events",
    "memberships",
    "groups",
    "users",
)
EMPTY = text(
    "; ".join(
        [
            *(f"DELETE FROM {table}" for table in TABLES),
            "UPDATE delivery_channels SET failures = 0, paused_until = NULL",
            "UPDATE gateways SET connections = 0, people = 0, by_role = '{}'",  # also of those just killed
        ]
    )
)

_servers: EmbeddedServers | None = None


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the servers before test files are imported: `workers.app` asks for the broker at import."""
    global _servers
    if _runs_no_tests(session.config):
        return
    _forget_environment()
    data_dir = Path(tempfile.mkdtemp(prefix="stagebloom-tests-"))
    os.environ["DATA_DIR"] = str(data_dir)
    _servers = EmbeddedServers(data_dir, durable=False).start()


def pytest_sessionfinish() -> None:
    """Stop the servers; after a SIGKILL of this process the kernel does it."""
    if _servers is not None:
        _servers.stop()
        shutil.rmtree(_servers.data.path, ignore_errors=True)


def _runs_no_tests(config: pytest.Config) -> bool:
    """Whether this is the process that only hands out tests to xdist's workers."""
    return bool(getattr(config.option, "numprocesses", None)) and not hasattr(config, "workerinput")


def _forget_environment() -> None:
    for field, info in Settings.model_fields.items():
        for name in (field.upper(), info.alias, *getattr(info.validation_alias, "choices", ())):
            os.environ.pop(str(name), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In each file, tests of the whole system last: it is started and stopped once a file, not once a test."""
    files = list(dict.fromkeys(item.path for item in items))
    items.sort(key=lambda item: (files.index(item.path), "system" in getattr(item, "fixturenames", ())))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """With CI=true a skipped test is a failed one: there, nothing that it needs may be missing."""
    report = yield
    return _no_skip_in_ci(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """The same for a whole file."""
    report = yield
    return _no_skip_in_ci(report)


def _no_skip_in_ci(report: Any) -> Any:
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI=true allows none: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def servers() -> EmbeddedServers:
    """The servers of this pytest process. Whoever stops them starts them again."""
    assert _servers is not None
    return _servers


@pytest.fixture(scope="session")
def settings(servers: EmbeddedServers) -> Settings:
    """What `get_settings()` gives, everywhere in this process: the servers above, everything else default."""
    found = get_settings()
    configure_logs(found)
    upgrade(engine(found))
    return found


@pytest.fixture
def clean(settings: Settings, running_system: System, request: pytest.FixtureRequest) -> None:
    """Empty tables and queues. Deleting beats TRUNCATE: 2 ms, not 50.

    A test without `system` does the work itself: no worker of an earlier test may take it away.
    """
    if "system" not in request.fixturenames:
        running_system.stop()
    _empty(settings)
    with connect(settings) as client:
        for key in client.scan_iter("stagebloom-limits:*"):  # someone of the same id may have sent much just now
            client.delete(key)
        client.delete(EVENTS, BULK, UPKEEP, DELIVERIES)


def _empty(settings: Settings) -> None:
    """Again where it collides with what a running system is still writing for an earlier test."""
    for tries_left in range(4, -1, -1):
        try:
            with engine(settings).begin() as connection:
                connection.execute(EMPTY)
            return
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != DEADLOCK or not tries_left:
                raise


@pytest.fixture
def session(settings: Settings, clean: None) -> Iterator[Session]:
    """A session to look with; what it writes is rolled back unless the test commits."""
    with Session(engine(settings), expire_on_commit=False) as found:
        yield found


@pytest.fixture
def company(settings: Settings, clean: None) -> Company:
    """Makes people, groups and stored notifications, quickly and committed."""
    return Company(settings)


@pytest.fixture(scope="session")
def app(settings: Settings) -> Flask:
    """The gateway's app in this process, without gevent and without its live part running."""
    from gateway.app import create_app

    return create_app(settings)


@pytest.fixture
def client(app: Flask, clean: None) -> FlaskClient:
    """A browser without a network: `client.get("/…", headers=company.bearer("42"))`."""
    return app.test_client()


@pytest.fixture(scope="session")
def running_system(servers: EmbeddedServers) -> Iterator[System]:
    """The processes of the Procfile; none is started before `system` asks for it."""
    with System(get_settings()) as found:
        yield found


@pytest.fixture
def system(running_system: System, clean: None) -> System:
    """A real gateway, real workers and beat, all of them running and ready; empty tables."""
    running_system.start_missing()
    return running_system
