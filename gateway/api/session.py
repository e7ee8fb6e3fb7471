"""A browser's session: trade a bearer token for cookies, see who one is, leave."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from gateway.auth import current_authenticator, current_caller, current_person, requires_person
from gateway.sessions import begin_session, clear_cookies, csrf_value, set_cookies
from shared.errors import Forbidden
from shared.tokens import Claims

blueprint = Blueprint("session", __name__, url_prefix="/api/session")


@blueprint.post("/")
@requires_person
def log_in() -> tuple[Response, int]:
    """Bearer token in, cookies out. A cookie is no bearer token: a session can't prolong itself."""
    caller = current_caller()
    if caller.is_session:
        raise Forbidden("a session begins with `Authorization: Bearer <token>`", reason="bearer_needed")
    token, session = begin_session(current_authenticator().settings, caller.claims)
    answer = jsonify(_described(session, csrf_value(session)))
    set_cookies(answer, request, token, session)
    return answer, 201


@blueprint.get("/")
@requires_person
def show() -> dict[str, Any]:
    """Who the caller is, until when, and (by cookie) the CSRF value to send with writes."""
    caller = current_caller()
    return _described(caller.claims, csrf_value(caller.claims) if caller.is_session else None)


@blueprint.delete("/")
@requires_person
def log_out() -> Response:
    """Take the cookies away."""
    answer = jsonify({"user": None})
    clear_cookies(answer)
    return answer


def _described(claims: Claims, csrf_token: str | None) -> dict[str, Any]:
    expires_at = claims.expires_at.isoformat().replace("+00:00", "Z")
    return {"user": current_person().as_dict(), "csrf_token": csrf_token, "expires_at": expires_at}
