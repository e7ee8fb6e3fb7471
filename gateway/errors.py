"""Every refusal and every failure as `{"error": {"code", "message", "details"}}`; never a traceback."""

from __future__ import annotations

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from gateway.auth import current_actor
from gateway.refusals import Refusals
from gateway.sessions import SESSION_COOKIE, clear_cookies
from shared.errors import NotificationError, RateLimited, Unauthorized, Unavailable
from shared.logs import get_logger

RETRY_AFTER_SECONDS = 2

# What Werkzeug refuses before or beside our code.
CODES = {
    400: "invalid_input",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

log = get_logger("gateway")


def register(app: Flask) -> None:
    """Hang the handlers into the app."""
    app.register_error_handler(NotificationError, refused)
    app.register_error_handler(HTTPException, refused_by_http)
    app.register_error_handler(Exception, failed)


def refused(error: NotificationError) -> Response:
    """An error of our tree, with its own status."""
    if error.status >= 500:
        log.warning("request_failed", path=request.path, code=error.code, message=error.message)
    _remember(error)
    answer = _answer(error.code, error.message, error.details, error.status)
    if isinstance(error, RateLimited):
        answer.headers["Retry-After"] = str(error.details["retry_after_seconds"])
    if isinstance(error, Unauthorized):
        known = 'Bearer realm="notifications"'
        answer.headers["WWW-Authenticate"] = (
            f'{known}, error="invalid_token"' if "Authorization" in request.headers else known
        )
        if SESSION_COOKIE in request.cookies and "Authorization" not in request.headers:
            clear_cookies(answer)  # it will never be good again
    if isinstance(error, Unavailable):
        answer.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer


def _remember(error: NotificationError) -> None:
    refusals: Refusals = current_app.extensions["refusals"]
    rule = request.url_rule.rule if request.url_rule else "?"
    refusals.remember(error, current_actor(), f"{request.method} {rule}")


def refused_by_http(error: HTTPException) -> AnyResponse:
    """A redirect as it is, anything else as JSON with the headers it came with (Allow of a 405)."""
    own = error.get_response()
    if error.code is None or error.code < 400:
        return own
    details: dict[str, object] = {}
    message = error.description or error.name
    if error.code == 413:
        details = {"field": "body", "max_bytes": request.max_content_length}
        message = f"body: expected at most {request.max_content_length} bytes"
    answer = _answer(CODES.get(error.code, error.name.lower().replace(" ", "_")), message, details, error.code)
    if "Allow" in own.headers:
        answer.headers["Allow"] = own.headers["Allow"]
    return answer


def failed(error: Exception) -> Response:
    """A fault of ours: the log has the traceback, the caller the number to ask about."""
    log.error("request_crashed", path=request.path, method=request.method, exc_info=error)
    return _answer(
        "internal",
        "something went wrong here; the log knows it by the request id",
        {"request_id": g.get("request_id")},
        500,
    )


def _answer(code: str, message: str, details: dict[str, object], status: int) -> Response:
    answer = jsonify({"error": {"code": code, "message": message, "details": details}})
    answer.status_code = status
    return answer
