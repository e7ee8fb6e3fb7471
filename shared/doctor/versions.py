"""Clocks that agree, servers that are new enough, tables at head."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import text

from shared import migrations
from shared.database import engine, transaction
from shared.doctor import Finding, fine, wrong
from shared.redis import connect
from shared.settings import Settings

MOST_SECONDS_APART = 5.0  # event ids, tokens and retention compare the two
OLDEST_POSTGRESQL = 14  # pg_current_xact_id is 13's; older ones get no more mends
LIBRARIES = ("stagebloom", "celery", "kombu", "redis", "SQLAlchemy", "psycopg2-binary", "Flask", "gunicorn", "gevent")


def check_versions(settings: Settings) -> Iterator[Finding]:
    """Tables at head; versions of everything, for a report."""
    at, head = migrations.current(engine(settings)), migrations.head()
    if at != head:
        yield wrong(
            "migrations",
            f"the database is at {at or 'nothing'}, this version wants {head}",
            "Run `stagebloom migrate`.",
            at=at,
            head=head,
        )
    else:
        yield fine("migrations", f"at head ({head})", at=at, head=head)
    with transaction(settings) as session:
        server = int(session.scalar(text("SELECT current_setting('server_version_num')::int")) or 0) // 10_000
    found = {
        "python": platform.python_version(),
        "PostgreSQL": str(server),
        "Redis": _redis_version(settings),
        **{name: _installed(name) for name in LIBRARIES},
    }
    if server < OLDEST_POSTGRESQL:
        yield wrong("versions", f"PostgreSQL {server} is too old", f"Upgrade to {OLDEST_POSTGRESQL} or newer.", **found)
    else:
        yield fine(
            "versions",
            ", ".join(f"{name} {found[name]}" for name in ("stagebloom", "python", "PostgreSQL", "Redis", "celery")),
            **found,
        )


def _redis_version(settings: Settings) -> str:
    try:
        with connect(settings) as client:
            info = client.info("server")
    except Exception:  # noqa: BLE001  # that it is away is another check's finding
        return "?"
    return str(info.get("valkey_version") or info["redis_version"])


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def check_clock(settings: Settings) -> Iterator[Finding]:
    """This machine's clock against PostgreSQL's, without the time the question took."""
    with transaction(settings) as session:
        session.execute(text("SELECT 1"))
        before = time.time()
        theirs = float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0)
        after = time.time()
    apart = max(before - theirs, theirs - after, 0.0)
    if apart > MOST_SECONDS_APART:
        yield wrong(
            "clock",
            f"this machine and PostgreSQL are {apart:.1f} s apart",
            "Let NTP set both clocks.",
            seconds=round(apart, 3),
        )
    else:
        yield fine("clock", f"{1000 * apart:.0f} ms apart from PostgreSQL's", seconds=round(apart, 3))
