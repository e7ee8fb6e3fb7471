"""A real WebSocket through the address that browsers use: what a proxy that drops Upgrade breaks in silence."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared.database import transaction
from shared.doctor import Finding, fine, note, wrong
from shared.errors import Unavailable
from shared.settings import Settings
from shared.tokens import can_issue_tokens, issue_token

SOMEONE = text("SELECT external_id FROM users WHERE is_active ORDER BY id LIMIT 1")
TOKEN_SECONDS = 60
REMEDY = "Is `web` running? Is that where browsers reach it? If not, set PUBLIC_URL, or PORT as `web` has it. A proxy must pass Upgrade and Connection on /ws/notifications/."


def check_websocket(settings: Settings) -> Iterator[Finding]:
    """Handshake, who one is, ping and pong, as somebody of this installation."""
    try:
        from shared.websocket import PATH, WebSocket
    except ImportError:
        yield note(
            "WebSocket",
            "wsproto is not installed here",
            "Run doctor where the gateway is installed: pip install stagebloom[gateway].",
        )
        return
    address = settings.public_address
    someone = _someone(settings) if can_issue_tokens(settings) else None
    started = time.monotonic()
    try:
        with WebSocket(address, issue_token(settings, someone, TOKEN_SECONDS) if someone else None) as browser:
            opened = time.monotonic()
            if someone:
                browser.wait_for("connected")
                browser.send(type="ping")
                browser.wait_for("pong")
    except Unavailable as error:
        yield wrong("WebSocket", f"{address}{PATH}: {error.message}", REMEDY, address=address)
        return
    took = {
        "handshake_milliseconds": round(1000 * (opened - started), 1),
        "milliseconds": round(1000 * (time.monotonic() - started), 1),
    }
    how = "handshake, connected, ping and pong" if someone else "handshake (there is nobody to connect as)"
    yield fine("WebSocket", f"{address}{PATH}: {how} in {took['milliseconds']} ms", address=address, **took)


def _someone(settings: Settings) -> str | None:
    try:
        with transaction(settings) as session:
            found: str | None = session.scalar(SOMEONE)
            return found
    except SQLAlchemyError:
        return None
