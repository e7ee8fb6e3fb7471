"""Pages of other origins (ALLOWED_ORIGINS) may use the API with a bearer token, never with a cookie.

Without Access-Control-Allow-Credentials a browser neither sends cookies along nor shows the answer to one
that has them. What is not said here, browsers refuse.
"""

from __future__ import annotations

from flask import Flask, Response, request

from shared.settings import Settings

METHODS = "GET, POST, PUT, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"
SHOWN_HEADERS = "Retry-After, X-Request-Id"
PREFLIGHT_SECONDS = "600"  # that a browser remembers the permission


def register(app: Flask, settings: Settings) -> None:
    """Hang the headers into the app."""

    @app.after_request
    def allow(response: Response) -> Response:
        if not settings.allowed_origins or not request.path.startswith("/api/"):
            return response
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in settings.allowed_origins:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = SHOWN_HEADERS
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response.headers["Access-Control-Allow-Methods"] = METHODS
            response.headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
            response.headers["Access-Control-Max-Age"] = PREFLIGHT_SECONDS
        return response
