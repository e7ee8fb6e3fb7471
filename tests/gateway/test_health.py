"""Alive without anyone; ready only with everyone; never a word about addresses."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from sqlalchemy import text

from gateway.app import create_app
from gateway.health import run_checks
from shared.database import transaction
from shared.migrations import head

SECRET = "swordfish"


def ready(settings, **changed):
    answer = create_app(settings.model_copy(update=changed)).test_client().get("/readyz")
    assert SECRET not in answer.get_data(as_text=True)
    return answer


@pytest.fixture
def silent_port():
    """A server that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def test_ready_with_everything(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["status"]) == (200, "ready")
    assert list(answer.json["checks"]) == ["database", "redis", "broker"]
    assert all(check["ok"] and check["error"] is None for check in answer.json["checks"].values())


@pytest.mark.parametrize(
    ("name", "field", "scheme"),
    [
        ("database", "database_url", "postgresql+psycopg2"),
        ("redis", "redis_url", "redis"),
        ("broker", "broker_url", "redis"),
        ("broker", "broker_url", "amqp"),
    ],
)
@pytest.mark.parametrize("kind", ["closed_port", "silent_port"])
def test_not_ready_without_one_of_them(name, field, scheme, kind, settings, request):
    port = request.getfixturevalue(kind)
    started = time.monotonic()

    answer = ready(settings, **{"broker_url": settings.broker, field: f"{scheme}://x:{SECRET}@127.0.0.1:{port}/0"})

    assert time.monotonic() - started < 3
    assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
    failed = {check for check, outcome in answer.json["checks"].items() if not outcome["ok"]}
    assert failed == {name}
    assert answer.json["checks"][name]["error"]
    assert str(port) not in answer.get_data(as_text=True)


def test_not_ready_before_the_migrations(settings, clean):
    with transaction(settings) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    try:
        answer = ready(settings)
    finally:
        with transaction(settings) as session:
            session.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head()})
    assert answer.status_code == 503
    assert "not migrated" in answer.json["checks"]["database"]["error"]


def test_alive_whatever_is_away(settings, closed_port):
    nowhere = f"redis://127.0.0.1:{closed_port}/0"
    database = f"postgresql+psycopg2://x:x@127.0.0.1:{closed_port}/x"
    app = create_app(
        settings.model_copy(update={"database_url": database, "redis_url": nowhere, "broker_url": nowhere})
    )
    answer = app.test_client().get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_checks_run_side_by_side_and_are_not_waited_for_too_long():
    both_here = threading.Barrier(2, timeout=5)
    never = threading.Event()

    def meet():
        both_here.wait()

    outcomes = run_checks({"a": meet, "b": meet, "hung": never.wait}, limit_seconds=0.3)
    assert (outcomes["a"]["ok"], outcomes["b"]["ok"], outcomes["hung"]["ok"]) == (True, True, False)
    assert outcomes["hung"]["error"] == "no answer within 0.3 s"
    never.set()
