"""Whether this gateway lives, and whether it can do its work.

`/healthz` asks nobody: a database that is away is no reason to restart the gateway. `/readyz` asks
the database, Redis and the broker side by side; each has 2 s, on connections of its own, so that a
full pool does not look like a dead server. Addresses and passwords are never shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import redis
from flask import Blueprint
from kombu.connection import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from gateway.auth import current_authenticator
from shared import migrations
from shared.settings import Settings

LIMIT_SECONDS = 2.0
CONNECT_SECONDS = 1  # whole seconds only; an older libpq takes 2 for 1

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, Any], int]:
    """Ready, or what is missing."""
    settings = current_authenticator().settings
    checks = run_checks({name: lambda check=check: check(settings) for name, check in CHECKS.items()})  # type: ignore[misc]
    is_ready = all(check["ok"] for check in checks.values())
    return {"status": "ready" if is_ready else "unavailable", "checks": checks}, 200 if is_ready else 503


def run_checks(
    checks: Mapping[str, Callable[[], str | None]], limit_seconds: float = LIMIT_SECONDS
) -> dict[str, dict[str, Any]]:
    """Run all at once; a check returns what is wrong, or None. One that takes too long counts as failed."""
    outcomes: dict[str, dict[str, Any]] = {}

    def run(name: str, check: Callable[[], str | None]) -> None:
        started = time.monotonic()
        try:
            fault = check()
        except Exception as error:  # noqa: BLE001  # whatever a driver raises means "not ready"; its text may hold a password
            fault = f"can't be reached ({type(error).__name__})"
        outcomes[name] = {"ok": fault is None, "ms": round((time.monotonic() - started) * 1000, 1), "error": fault}

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in checks.items()]
    deadline = time.monotonic() + limit_seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = {"ok": False, "ms": limit_seconds * 1000, "error": f"no answer within {limit_seconds:g} s"}
    return {name: outcomes.get(name, late) for name in checks}


def check_database(settings: Settings) -> str | None:
    """Answers, and is migrated to what this code knows."""
    engine = create_engine(
        settings.database,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "options": f"-c statement_timeout={int(LIMIT_SECONDS * 1000)}",
        },
    )
    found, expected = migrations.current(engine), _head()
    return None if found == expected else f"not migrated: at {found}, expected {expected}"


def check_redis(settings: Settings) -> str | None:
    """Answers a ping."""
    with redis.Redis.from_url(
        settings.redis, socket_connect_timeout=LIMIT_SECONDS, socket_timeout=LIMIT_SECONDS, retry=Retry(NoBackoff(), 0)
    ) as client:
        client.ping()
    return None


def check_broker(settings: Settings) -> str | None:
    """Takes a connection, whatever kind of broker it is."""
    limits = {"socket_connect_timeout": LIMIT_SECONDS, "socket_timeout": LIMIT_SECONDS}
    options = limits if settings.broker.startswith("redis") else {}
    with Connection(settings.broker, connect_timeout=LIMIT_SECONDS, transport_options=options) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=LIMIT_SECONDS)
        connection.channel().close()
    return None


CHECKS: Mapping[str, Callable[[Settings], str | None]] = {
    "database": check_database,
    "redis": check_redis,
    "broker": check_broker,
}


@cache
def _head() -> str:
    return migrations.head()
