"""What the producer's tests share: a company, and rings that can be counted in the real queue."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shared.redis import connect
from shared.settings import Settings
from shared.tasks import EVENTS


@pytest.fixture
def rings(settings: Settings, clean: None) -> Iterator[Callable[[], int]]:
    """How many messages wait for the workers (none runs in these tests), and takes them out."""
    with connect(settings) as client:

        def taken() -> int:
            waiting = int(client.llen(EVENTS))
            client.delete(EVENTS)
            return waiting

        yield taken
        client.delete(EVENTS)
