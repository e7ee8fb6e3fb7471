"""Gathers what several browsers want of the database, so that one statement serves them all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import gevent
from gevent.event import Event

from shared.logs import get_logger

log = get_logger("live")

Item = TypeVar("Item")


class Gatherer(Generic[Item]):
    """A greenlet that hands what was put in within `wait_seconds` to `serve`, at most `limit` at a time.

    `put` never waits. A `serve` that raises is logged and ends only its own batch.
    """

    def __init__(self, name: str, serve: Callable[[list[Item]], None], *, wait_seconds: float, limit: int) -> None:
        self._name = name
        self._serve = serve
        self._wait_seconds = wait_seconds
        self._limit = limit
        self._waiting: deque[Item] = deque()
        self._something = Event()

    def put(self, item: Item) -> None:
        self._waiting.append(item)
        self._something.set()

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            self._something.wait()
            gevent.sleep(self._wait_seconds)
            batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
            if not self._waiting:
                self._something.clear()
            try:
                self._serve(batch)
            except Exception:
                log.exception("serving_failed", what=self._name, count=len(batch))
