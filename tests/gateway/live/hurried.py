"""The gateway's app with shortened times, for tests that would otherwise wait a minute.

LIVE_LIMITS holds the changed limits as JSON, FLUSH_SECONDS says how often refusals are written; gunicorn loads
`create_app` of this module.
"""

from __future__ import annotations

import json
import os
from functools import partial

from flask import Flask

import gateway.live
import gateway.refusals
from gateway.app import create_app as create_real_app
from gateway.live.limits import Limits


def create_app() -> Flask:
    """The real app, and beside it what its live part counts."""
    changed = json.loads(os.environ.get("LIVE_LIMITS", "{}"))
    gateway.live.Limits = partial(Limits, **changed)  # type: ignore[misc,assignment]
    gateway.refusals.FLUSH_SECONDS = float(os.environ.get("FLUSH_SECONDS", gateway.refusals.FLUSH_SECONDS))
    app = create_real_app()
    live = app.extensions["live"]
    app.add_url_rule("/counts", "counts", lambda: {**live.counts(), "buffered_bytes": _buffered_bytes(live)})
    return app


def _buffered_bytes(live: gateway.live.Live) -> int:
    """What slow sockets have not taken yet."""
    return sum(connection.backlog.size for connection in live._loop.connections if connection.backlog)
