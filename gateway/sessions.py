"""Browser sessions: an HttpOnly cookie in exchange for a bearer token, and the CSRF value beside it.

The cookie is a token for an audience of its own: a bearer token can't stand in for it, nor it for a
bearer token. It ends when SESSION_LIFETIME_SECONDS are over or the bearer token it came from would
have ended, whichever is first: whoever issues short-lived tokens means it. Pages send the CSRF value,
which the cookie's token holds too, back in a header with every write.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import UTC, datetime, timedelta

from flask import Request, Response

from shared.errors import Forbidden
from shared.settings import Settings
from shared.tokens import Claims, decode, encode

SESSION_COOKIE = "stagebloom_session"
CSRF_COOKIE = "stagebloom_csrf"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def begin_session(settings: Settings, bearer: Claims) -> tuple[str, Claims]:
    """The cookie's token for whom a bearer token names, and what it proves."""
    latest = datetime.now(UTC) + timedelta(seconds=settings.session_lifetime_seconds)
    token = encode(
        settings, _audience(settings), bearer.person, min(latest, bearer.expires_at), csrf=secrets.token_urlsafe(24)
    )
    return token, read_session(settings, token)


def read_session(settings: Settings, token: str) -> Claims:
    """What a cookie's token proves. Raises: Unauthorized."""
    return decode(settings, _audience(settings), token)


def csrf_value(session: Claims) -> str:
    """What a page has to send back with writes."""
    return str(session.extra["csrf"])


def check_csrf(request: Request, session: Claims) -> None:
    """Refuse a write that another site may have made the browser send. Raises: Forbidden."""
    if request.method in SAFE_METHODS:
        return
    sent = request.headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(sent.encode(), csrf_value(session).encode()):
        message = f"{CSRF_HEADER}: expected the value of the cookie {CSRF_COOKIE}, got {'another' if sent else 'none'}"
        raise Forbidden(message, reason="csrf", field=CSRF_HEADER)


def set_cookies(response: Response, request: Request, token: str, session: Claims) -> None:
    """Hand both cookies to the browser."""
    _set(response, request, SESSION_COOKIE, token, session.expires_at, httponly=True)
    _set(response, request, CSRF_COOKIE, csrf_value(session), session.expires_at, httponly=False)


def clear_cookies(response: Response) -> None:
    """Take both cookies away."""
    for name in (SESSION_COOKIE, CSRF_COOKIE):
        response.delete_cookie(name, samesite="Lax")


def _set(response: Response, request: Request, name: str, value: str, expires_at: datetime, *, httponly: bool) -> None:
    # A header that anyone may send can only make the cookie stricter, so no list of proxies is needed.
    secure = request.is_secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"
    response.set_cookie(name, value, expires=expires_at, httponly=httponly, secure=secure, samesite="Lax")


def _audience(settings: Settings) -> str:
    return f"{settings.jwt_audience}/session"
