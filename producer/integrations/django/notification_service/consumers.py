"""`notification_service.consumers`: routes that name a consumer of the earlier system stay importable.

WebSockets are the gateway's now, at the same path; whoever still comes to Django's is sent away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from shared.logs import get_logger

GATEWAY = "the gateway serves /ws/notifications/; let your proxy send it there"

log = get_logger("django")


class NotificationConsumer:
    """An ASGI application that refuses every WebSocket (the browser sees 403) and says so in the log."""

    @classmethod
    def as_asgi(cls, **_: Any) -> NotificationConsumer:
        """What `URLRouter` takes."""
        return cls()

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Mapping[str, Any]]],
        send: Callable[[Mapping[str, Any]], Awaitable[None]],
    ) -> None:
        """One connection."""
        await receive()
        log.warning("websocket_refused", path=scope.get("path"), hint=GATEWAY)
        await send({"type": "websocket.close"})


def __getattr__(name: str) -> type[NotificationConsumer]:
    """Consumers by whichever name the application gave them."""
    if name.endswith("Consumer"):
        return NotificationConsumer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {GATEWAY}")
