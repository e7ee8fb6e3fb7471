"""The page at `/`, and the files of the browser side under `/static/`.

On one's own machine the page is the demonstration, elsewhere a word on what this is.

Guarantees: no inline script or style runs, nothing comes from another origin, and no page of another
site may frame it. The pages hold no data of anyone: they load it over the API, as anybody may.
"""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory

from gateway.auth import current_authenticator
from gateway.demo import refusal

STATIC = Path(__file__).parent / "static"

# The last one makes the browser itself refuse text as markup, whatever a later change does.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)

blueprint = Blueprint("pages", __name__, static_folder="static", static_url_path="/static")


@blueprint.get("/")
def show_page() -> Response:
    """The demonstration where it may be shown, or else the plain page."""
    name = "home.html" if refusal(current_authenticator().settings, request) else "demo.html"
    response = send_from_directory(STATIC, name)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/favicon.ico")
def show_favicon() -> Response:
    """What browsers ask for by themselves."""
    return send_from_directory(STATIC, "favicon.svg")
