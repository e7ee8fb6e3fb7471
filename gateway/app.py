"""The gateway's front door: makes the Flask app out of its parts."""

from __future__ import annotations

import re
import secrets

import structlog
from flask import Flask, Response, g, request
from flask.json.provider import DefaultJSONProvider

from gateway import api, cors, demo, docs, errors, health, pages
from gateway.announcements import Announcer
from gateway.auth import Authenticator
from gateway.live import Live
from gateway.refusals import Refusals
from shared.settings import Settings, get_settings

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")  # of a proxy in front; anything else is replaced

# For answers that say nothing of their own; pages bring a wider Content-Security-Policy.
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def create_app(settings: Settings | None = None) -> Flask:
    """The app. Connects to nothing yet; `app.extensions["live"]` is started by whoever serves it."""
    settings = settings or get_settings()
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    assert isinstance(app.json, DefaultJSONProvider)
    app.json.sort_keys, app.json.ensure_ascii = False, False

    authenticator = Authenticator(settings)
    app.extensions["authenticator"] = authenticator
    app.extensions["announcer"] = Announcer(authenticator)
    refusals = app.extensions["refusals"] = Refusals(settings)
    app.before_request(_name_request)
    app.after_request(_add_headers)
    cors.register(app, settings)
    errors.register(app)
    api.register(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(demo.blueprint)
    app.register_blueprint(docs.blueprint)
    live = app.extensions["live"] = Live(settings, authenticator, refusals)
    live.register(app)
    return app


def _name_request() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    if response.is_json or request.path.startswith("/api/"):
        response.headers["Cache-Control"] = "no-store"
    return response
