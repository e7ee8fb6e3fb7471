"""What the producer's tests share: a company, and rings that can be counted in the real queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from shared.settings import Settings
from shared.tasks import EVENTS
from tests.broken_broker import quiet_broker


@pytest.fixture
def rings(settings: Settings, clean: None) -> Iterator[Callable[[], int]]:
    """How many messages wait in the broker to which nobody listens; and takes them out."""
    with redis.Redis.from_url(quiet_broker(settings).broker) as client:
        client.delete(EVENTS)

        def taken() -> int:
            waiting = int(client.llen(EVENTS))
            client.delete(EVENTS)
            return waiting

        yield taken
        client.delete(EVENTS)
