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
from gateway.auth import Authenticator
from gateway.live.limits import Limits
from shared.settings import get_settings


def create_app() -> Flask:
    changed = json.loads(os.environ.get("LIVE_LIMITS", "{}"))
    gateway.live.Limits = partial(Limits, **changed)  # type: ignore[misc,assignment]
    app = create_real_app()
    if "live" not in app.extensions:
        gateway.live.Live(get_settings(), Authenticator(get_settings())).register(app)
    app.add_url_rule("/counts", view_func=lambda: app.extensions["live"].counts())
    return app
