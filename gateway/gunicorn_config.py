"""How gunicorn runs the gateway: `gunicorn --config python:gateway.gunicorn_config "gateway.app:create_app()"`.

One gevent worker per process. WebSockets are parked outside of gunicorn's pool (see live/), so its
settings concern plain HTTP only; to use more cores, start more processes on ports of their own.
"""

from __future__ import annotations

import resource
from typing import Any

from shared.logs import configure_logs
from shared.settings import get_settings

_settings = get_settings()

bind = f"{_settings.host}:{_settings.port}" if ":" not in _settings.host else f"[{_settings.host}]:{_settings.port}"
worker_class = "gevent"
workers = 1
# Plain requests at once, idle keep-alive ones included. WebSockets don't count: MAX_SOCKETS caps them.
worker_connections = 2000
# A storm of reconnects waits here; net.core.somaxconn (4096 on Linux) bounds it.
backlog = 2048
# Longer than a page's gaps between requests; each idle connection costs a greenlet (40 KiB).
keepalive = 5
# A worker with parked sockets looks idle to gunicorn: it would end at once and take them along.
max_requests = 0
# Sockets are closed in one second (worker_exit); the rest is for requests under way.
graceful_timeout = 10
# The heartbeat is a greenlet: a worker silent for so long is stuck.
timeout = 60
accesslog = None
loglevel = "warning"


def on_starting(server: Any) -> None:
    """TLS ends at the proxy: a parked descriptor has no TLS state."""
    if server.cfg.is_ssl:
        raise SystemExit("gunicorn's own TLS can't carry parked WebSockets: end TLS at a proxy in front")


def post_fork(server: Any, worker: Any) -> None:
    """Every WebSocket is a file; psycopg2 blocks the whole gateway unless it is told not to."""
    from psycogreen.gevent import patch_psycopg

    patch_psycopg()
    configure_logs(_settings)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def post_worker_init(worker: Any) -> None:
    _live(worker).start()
    worker.wsgi.extensions["refusals"].start()


def worker_int(worker: Any) -> None:
    _live(worker).stop()


def worker_exit(server: Any, worker: Any) -> None:
    """After SIGTERM: the pool is empty at once, the parked sockets are ours to close."""
    if getattr(worker, "wsgi", None) is not None:
        _live(worker).stop()
        worker.wsgi.extensions["refusals"].stop()


def _live(worker: Any) -> Any:
    return worker.wsgi.extensions["live"]
