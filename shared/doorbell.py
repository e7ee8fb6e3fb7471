"""Step ②: ring, bounded, whatever state the broker is in.

kombu can block for ever on a Redis that accepts and says nothing, so a thread of its own does the
ringing and whoever rings waits at most a second for it. Rings of the same task that come together
become one message. While the broker is away nobody waits at all; the thread goes on trying, and what
a dying process could not ring is found by the sweep.

Thread-safe; a forked child gets a thread of its own.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError

from shared.celery_app import make_celery
from shared.errors import SettingsError
from shared.logs import get_logger
from shared.settings import Settings, get_settings
from shared.tasks import QUEUE_OF

WAIT_SECONDS = 1.0
RETRY_SECONDS = (0.5, 1, 2, 5)  # then every 5 s: what is rung later, the sweep has found by then

log = get_logger("doorbell")


class Doorbell:
    """The ringing of one process for one broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._changed = threading.Condition()
        self._waiting: set[str] = set()
        self._asked = 0  # rings so far
        self._answered = 0  # rings whose message is in the broker
        self._failures = 0  # in a row
        self._is_away = False
        self._thread: threading.Thread | None = None

    def ring(self, task: str, wait_seconds: float = WAIT_SECONDS) -> bool:
        """Wake the workers of `task`; whether the broker has taken the message by now.

        Waits at most `wait_seconds`, and not at all while the broker is known to be away.
        """
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            self._waiting.add(task)
            self._asked += 1
            mine = self._asked
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            while self._answered < mine and not self._is_away:
                left = deadline - time.monotonic()
                if left <= 0:
                    self._is_away = True
                    log.warning("broker_silent", waited_seconds=wait_seconds)
                    break
                self._changed.wait(left)
            return self._answered >= mine

    def _run(self) -> None:
        app = make_celery(self._settings)
        connection: Connection | None = None
        while True:
            with self._changed:
                while not self._waiting:
                    self._changed.wait()
                tasks, self._waiting = self._waiting, set()
                asked = self._asked
            try:
                if connection is None:
                    connection = app.connection_for_write()
                    # Once, without a pause: left to itself kombu tries for ever and never says so.
                    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
                for task in tasks:
                    self._send(app, connection, task)
            except Exception as error:  # noqa: BLE001
                # Whatever kombu raises here, the events stand in PostgreSQL: keep the ring and try again.
                _drop(connection)
                connection = None
                self._failed(tasks, error)
            else:
                self._succeeded(asked)

    def _send(self, app: Celery, connection: Connection, task: str) -> None:
        if waiting_messages(connection, QUEUE_OF[task]) < self._settings.notification_queue_size:
            app.send_task(task, connection=connection, retry=False)
        # else: the queue is full of doorbells, each of which wakes a worker that takes along everything

    def _failed(self, tasks: set[str], error: Exception) -> None:
        with self._changed:
            self._waiting |= tasks
            if not self._failures:
                log.warning("broker_away", error=f"{type(error).__name__}: {error}")
            pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
            self._failures += 1
            self._is_away = True
            self._changed.notify_all()
        time.sleep(pause)

    def _succeeded(self, asked: int) -> None:
        with self._changed:
            if self._failures:
                log.info("broker_back")
            self._failures = 0
            self._is_away = False
            self._answered = asked
            self._changed.notify_all()


def waiting_messages(connection: Connection, queue: str) -> int:
    """Messages waiting in a queue; a queue that nobody made yet is empty."""
    try:
        channel: Any = connection.default_channel
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:
        return 0


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        collect: Any = connection.collect
        with contextlib.suppress(Exception):  # it is broken already: whatever closing it says is no news
            collect(socket_timeout=0.5)


_doorbells: dict[tuple[int, str], Doorbell] = {}
_lock = threading.Lock()


def ring(task: str, settings: Settings | None = None) -> bool:
    """Ring with the doorbell of this process; see `Doorbell.ring`.

    Never raises: what is rung for is committed already, and the sweep finds it.
    """
    settings = settings or get_settings()
    try:
        key = (os.getpid(), settings.broker)
    except SettingsError as error:
        log.warning("broker_unknown", error=error.message)
        return False
    with _lock:
        if key not in _doorbells:
            _doorbells[key] = Doorbell(settings)
    return _doorbells[key].ring(task)


def _unlock_in_child() -> None:
    """A thread of the parent may have held the lock at the fork; in the child nobody would release it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)
