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
    app.add_url_rule("/counts", "counts", lambda: app.extensions["live"].counts())
    return app
