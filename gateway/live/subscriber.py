"""Step ⑤ to ⑥: hears what workers and other gateways publish, on one connection of its own.

Redis is a hint. Its connection may end, stall or be replaced at any time; each time it is made again, and
then the tail reads at once what was missed and all counts are taken anew.

Guarantees: everything that has arrived is handed on before the sockets are flushed, so that frames due
together leave in one write; a Redis that is down, silent or slow delays nobody but this greenlet.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import gevent
import redis

from gateway.live.limits import Limits
from shared.errors import InvalidInput, NotificationError
from shared.logs import get_logger
from shared.redis import connect
from shared.settings import Settings
from shared.topics import LiveMessage, decode, live_topic

log = get_logger("live")

DRAIN_BYTES = 512 * 1024  # of messages between two flushes: about what they cost us meanwhile
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0


class Subscriber:
    """One greenlet. `receive` gets each message, `drained` is called when no more is there."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        installation: Callable[[], str],
        receive: Callable[[LiveMessage], None],
        drained: Callable[[], None],
        hiccup: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._limits = limits
        self._installation = installation
        self._receive = receive
        self._drained = drained
        self._hiccup = hiccup
        self.is_connected = False

    def start(self) -> None:
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        self._greenlet.kill()

    def _run(self) -> None:
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            began = time.monotonic()
            try:
                self._listen()
            except (redis.RedisError, OSError, NotificationError) as error:
                if self.is_connected or wait_seconds == FIRST_WAIT_SECONDS:
                    log.warning("redis_lost", error=type(error).__name__)
            except Exception:
                log.exception("subscriber_failed")
            self.is_connected = False
            if time.monotonic() - began > LONGEST_WAIT_SECONDS:
                wait_seconds = FIRST_WAIT_SECONDS
            gevent.sleep(wait_seconds * random.uniform(0.5, 1.5))
            wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)

    def _listen(self) -> None:
        """Subscribe and hand on messages until the connection ends. Raises: redis.RedisError."""
        topic = live_topic(self._installation())
        client = connect(self._settings, max_connections=1)
        try:
            with client.pubsub() as pubsub:
                pubsub.subscribe(topic)
                self._hand_on(pubsub)
        finally:
            client.close()

    def _hand_on(self, pubsub: redis.client.PubSub) -> None:
        silent_seconds = self._limits.silent_redis_seconds
        heard_at, pinged = time.monotonic(), False
        while True:
            waited_since = time.monotonic()
            message = pubsub.get_message(timeout=silent_seconds)
            taken_bytes = 0
            while message is not None:
                heard_at, pinged = time.monotonic(), False
                taken_bytes += self._take(message)
                if taken_bytes >= DRAIN_BYTES:
                    break
                message = pubsub.get_message(timeout=0)
            if heard_at > waited_since:
                self._drained()
                gevent.sleep(0)  # in a long stream the others must have their turn too
            elif time.monotonic() - heard_at >= silent_seconds:
                if pinged:
                    raise redis.ConnectionError("Redis says nothing")
                pubsub.ping()
                pinged, heard_at = True, time.monotonic()

    def _take(self, message: dict[str, object]) -> int:
        """Hand on one message; its size in bytes."""
        if message["type"] == "subscribe":
            # redis-py connects and subscribes again by itself: this is the only sign of it.
            self.is_connected = True
            log.info("redis_subscribed")
            self._hiccup()
        elif message["type"] == "message":
            payload = message["data"]
            assert isinstance(payload, bytes)
            try:
                self._receive(decode(payload))
            except InvalidInput:
                log.warning("live_message_unreadable", size=len(payload))
            return len(payload)
        return 0
