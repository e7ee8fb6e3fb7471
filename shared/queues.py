"""How many messages wait in the broker: a hint only, since each wakes somebody who takes along everything."""

from __future__ import annotations

from kombu.connection import Connection
from kombu.exceptions import KombuError, OperationalError

from shared.doorbell import waiting_messages
from shared.settings import Settings
from shared.tasks import QUEUE_OF

LIMIT_SECONDS = 1.0


def queue_depths(settings: Settings) -> dict[str, int] | None:
    """Messages waiting by queue; None when the broker doesn't answer within about a second."""
    limits = {"socket_connect_timeout": LIMIT_SECONDS, "socket_timeout": LIMIT_SECONDS}
    options = limits if settings.broker.startswith("redis") else {}
    try:
        with Connection(settings.broker, connect_timeout=LIMIT_SECONDS, transport_options=options) as connection:  # type: ignore[no-untyped-call]
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=LIMIT_SECONDS)
            return {queue: waiting_messages(connection, queue) for queue in sorted(set(QUEUE_OF.values()))}
    except (KombuError, OperationalError, OSError):
        return None
