"""The gateway's app with shortened times, for tests that would otherwise wait a minute.

LIVE_LIMITS holds the changed limits as JSON; gunicorn loads `create_app` of this module.
"""

from __future__ import annotations

import json
import os
from functools import partial

from flask import Flask

import gateway.live
from gateway.app import create_app as create_real_app
from gateway.live.limits import Limits


def create_app() -> Flask:
    """The real app, and beside it what its live part counts."""
    changed = json.loads(os.environ.get("LIVE_LIMITS", "{}"))
    gateway.live.Limits = partial(Limits, **changed)  # type: ignore[misc,assignment]
    app = create_real_app()
    app.add_url_rule("/counts", "counts", lambda: app.extensions["live"].counts())
    return app
