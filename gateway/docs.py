"""What the API says of itself: the OpenAPI document, and a page to read it. Both are for anyone: they hold no data."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, redirect, request, send_from_directory, url_for
from werkzeug.wrappers import Response as BaseResponse

from gateway.openapi.document import make_document
from gateway.pages import CONTENT_SECURITY_POLICY, STATIC

blueprint = Blueprint("docs", __name__, url_prefix="/api")


@blueprint.get("/openapi.json")
def show_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document, made at first use."""
    found: dict[str, Any] = current_app.extensions.get("openapi") or make_document(current_app)
    current_app.extensions["openapi"] = found
    return found


@blueprint.get("/docs", strict_slashes=False)
def show_page() -> Response | BaseResponse:
    """A page that shows the document; nothing of it comes from elsewhere. With a slash: to the address without."""
    if request.path.endswith("/"):
        return redirect(url_for(".show_page"), 308)
    response = send_from_directory(STATIC, "docs.html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Cache-Control"] = "no-store"
    return response
