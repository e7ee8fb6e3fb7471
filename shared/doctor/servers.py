"""Do PostgreSQL, Redis and the broker answer, and is there room? Addresses are shown without passwords."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import redis
from kombu.connection import Connection
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.database import transaction
from shared.doctor import Finding, fine, note, wrong
from shared.doorbell import waiting_messages
from shared.redis import connect
from shared.settings import Settings
from shared.tasks import QUEUE_OF

BROKER_SECONDS = 3.0
ALMOST_FULL = 0.8
CONNECTIONS = text(
    "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = 'client backend'"
)


def check_database(settings: Settings) -> Iterator[Finding]:
    """A query, and how many of the server's connections are taken."""
    where = _shown(settings.database)
    started = time.monotonic()
    try:
        with transaction(settings) as session:
            used, most = session.execute(CONNECTIONS).one()
    except (OperationalError, PoolTimeout) as error:
        cause = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        yield wrong(
            "PostgreSQL",
            f"{where} can't be reached: {cause}",
            "Start PostgreSQL, or set DATABASE_URL to where it runs.",
        )
        return
    took = round(1000 * (time.monotonic() - started), 1)
    details = {"address": where, "milliseconds": took, "connections": used, "max_connections": most}
    if used >= ALMOST_FULL * most:
        yield wrong(
            "PostgreSQL",
            f"{used} of {most} connections are taken",
            "Raise max_connections, or lower DATABASE_POOL_SIZE.",
            **details,
        )
    else:
        yield fine("PostgreSQL", f"{where} answers in {took} ms; {used} of {most} connections", **details)


def check_redis(settings: Settings) -> Iterator[Finding]:
    """A ping; memory and clients, which the earlier system's `r.info('clients')` showed."""
    where = _shown(settings.redis)
    with connect(settings) as client:
        try:
            started = time.monotonic()
            client.ping()
            took = round(1000 * (time.monotonic() - started), 1)
            info: Any = client.info()
        except redis.RedisError as error:
            yield wrong(
                "Redis",
                f"{where} can't be reached ({type(error).__name__})",
                "Start Redis or Valkey, or set REDIS_URL to where it runs.",
            )
            return
    memory, most = info["used_memory"], info.get("maxmemory", 0)
    details = {
        "address": where,
        "milliseconds": took,
        "version": info.get("valkey_version") or info["redis_version"],
        "used_memory_bytes": memory,
        "maxmemory_bytes": most,
        "connected_clients": info["connected_clients"],
        "blocked_clients": info["blocked_clients"],
        "maxclients": info.get("maxclients"),
        "evicted_keys": info.get("evicted_keys", 0),
    }
    if most and memory >= ALMOST_FULL * most:
        yield wrong(
            "Redis",
            f"{memory / 1e6:.0f} of {most / 1e6:.0f} MB are used",
            "Raise maxmemory; see what else lives there.",
            **details,
        )
    elif info.get("evicted_keys") and not settings.broker_url:
        yield wrong(
            "Redis",
            f"{info['evicted_keys']} keys were evicted: doorbells may be among them",
            "Set maxmemory-policy noeviction.",
            **details,
        )
    else:
        yield fine(
            "Redis",
            f"{where} answers in {took} ms; {memory / 1e6:.1f} MB, {info['connected_clients']} clients",
            **details,
        )


def check_broker(settings: Settings) -> Iterator[Finding]:
    """A connection of its own, and how many doorbells wait in each queue."""
    where = _shown(settings.broker)
    limits = {"socket_connect_timeout": BROKER_SECONDS, "socket_timeout": BROKER_SECONDS}
    options = limits if settings.broker.startswith("redis") else {}
    try:
        with Connection(settings.broker, connect_timeout=BROKER_SECONDS, transport_options=options) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
            depths = {queue: waiting_messages(connection, queue) for queue in sorted(set(QUEUE_OF.values()))}
    except Exception as error:  # noqa: BLE001  # kombu raises what its transport raises
        yield wrong(
            "broker",
            f"{where} can't be reached ({type(error).__name__})",
            "Start the broker, or set BROKER_URL. Events wait in PostgreSQL meanwhile.",
        )
        return
    shown = ", ".join(f"{queue} {depth}" for queue, depth in depths.items())
    full = [queue for queue, depth in depths.items() if depth >= settings.notification_queue_size]
    if full:
        yield note(
            "broker",
            f"full of doorbells: {', '.join(full)}",
            "Nothing is lost: start more workers, or see why those that run take none.",
            address=where,
            queues=depths,
        )
    else:
        yield fine("broker", f"{where} answers; waiting: {shown}", address=where, queues=depths)


def _shown(address: str) -> str:
    url = make_url(address)
    return f"{url.host}:{url.port}" if url.port else str(url.host)
