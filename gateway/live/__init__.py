"""Step ⑥: the WebSockets of this gateway process, and what is sent to whom.

    browser ─ socket.py ─ loop.py ─ protocol.py       handshake, park, read
                 │           │
              welcome.py  connection.py               who is it; the only writer
                 │           │
    Redis ─ subscriber.py ─ hub.py ─ gate.py           batches → people present
    PostgreSQL ─ replay.py ─┘  │  └─ resume.py         what Redis lost; what a browser missed
                            state.py receipts.py       unread counts; seen and read
                            presence.py deliveries.py  who is here; what has reached them

One event loop holds all of it, so nothing here needs a lock: a step that doesn't wait is atomic. What has
to wait for PostgreSQL or Redis is a greenlet with a short transaction, never one per connection.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gevent
import redis
from flask import Flask
from gevent.pool import Pool

from gateway.live import codes, socket
from gateway.live.changes import ChangedPeople
from gateway.live.connection import Connection
from gateway.live.deliveries import Deliveries
from gateway.live.encoding import json_frame
from gateway.live.gatherer import Gatherer
from gateway.live.heartbeat import Anonymous, Heartbeat
from gateway.live.hub import Hub
from gateway.live.limits import Limits
from gateway.live.loop import LiveLoop
from gateway.live.presence import Presence
from gateway.live.protocol import Reader
from gateway.live.receipts import Receipts
from gateway.live.replay import Tail
from gateway.live.resume import AT_ONCE as RESUMED_AT_ONCE
from gateway.live.resume import Request, Resume
from gateway.live.state import StateKeeper
from gateway.live.subscriber import Subscriber
from gateway.live.welcome import AT_ONCE as WELCOMED_AT_ONCE
from gateway.live.welcome import Arrival, Welcome
from gateway.refusals import Refusals
from shared.audit import NOBODY, Actor
from shared.errors import Forbidden, InvalidInput, NotificationError, Unauthorized, Unavailable
from shared.logs import get_logger
from shared.redis import connect
from shared.settings import Settings
from shared.tokens import Claims, is_quick
from shared.topics import BatchMessage, LiveMessage, PeopleMessage, StateMessage, live_topic

if TYPE_CHECKING:
    from gateway.auth import Authenticator

log = get_logger("live")

PROOFS_AT_ONCE = 32
GOODBYES_AT_ONCE = 500
DOOR = f"WebSocket {socket.PATH}"  # the door of what is refused after the handshake; before, it is a GET
# What a handshake leaves behind is cyclic, so the young are looked at often: with 50,000 objects instead
# of 2,000, 5,000 browsers that came together cost 9 MB more for ever. The old are looked at seldom.
COLLECT_AFTER_OBJECTS = (2000, 10, 50)


class Proof(NamedTuple):
    """What a connection has shown: `claims` says what it proves, or raises."""

    connection: Connection
    address: str
    claims: Callable[[], Claims]


class Live:
    """The live part of one gateway process."""

    def __init__(
        self, settings: Settings, authenticator: Authenticator, refusals: Refusals, limits: Limits | None = None
    ) -> None:
        self.settings = settings
        self.authenticator = authenticator
        self.refusals = refusals
        self.limits = limits or Limits()
        self.is_draining = False
        self._redis: redis.Redis | None = None
        self._loop = loop = LiveLoop(self.limits)
        self._anonymous = Anonymous()
        self._hub = hub = Hub(loop)
        self._state = StateKeeper(settings, loop, hub)
        self._presence = Presence(settings, self.limits, loop.connections)
        people = ChangedPeople(hub, self._presence, self._state.tell)
        self._tail = tail = Tail(settings, loop, hub, people)
        self._receipts = Receipts(settings, loop, hub, self._announce)
        self._deliveries = Deliveries(settings, self.limits)
        welcome = Welcome(settings, hub, tail, people, self._presence)
        welcome.refused = self._person_refused
        self._welcome = Gatherer(
            "welcome",
            welcome.serve,
            wait_seconds=self.limits.welcome_seconds,
            limit=WELCOMED_AT_ONCE,
        )
        self._resume = Gatherer(
            "resume",
            Resume(settings, loop, tail, self._deliveries.confirm).serve,
            wait_seconds=self.limits.welcome_seconds,
            limit=RESUMED_AT_ONCE,
        )
        self._proofs = Gatherer("proofs", self._check, wait_seconds=0, limit=PROOFS_AT_ONCE)
        self._heartbeat = Heartbeat(loop, self._anonymous)
        self._subscriber = Subscriber(
            settings, self.limits, self._installation, self._receive, loop.flush, self._hiccup
        )
        loop.on_bytes = Reader(self.limits, self).read
        loop.on_gone = self._gone
        hub.ring_tail = tail.ring
        hub.mark_unread = self._state.mark
        hub.handed = self._deliveries.handed
        self._greenlets: list[Any] = [self._subscriber, tail, self._heartbeat, self._state]
        self._greenlets += [self._presence, self._deliveries, self._receipts, self._welcome, self._resume, self._proofs]

    # The process: register, start, stop

    def register(self, app: Flask) -> None:
        """Add the route and its checks to the app."""
        app.extensions["live"] = self
        socket.register(app, self, self.settings)

    def start(self) -> None:
        """Start listening to Redis and reading the tail. In the worker, after the fork."""
        for part in self._greenlets:
            part.start()
        # What is here now stays: collections need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER_OBJECTS)
        log.info("live_started")

    def stop(self) -> None:
        """Close every connection with 1012, a slice at a time, and wait shortly for the peers."""
        if self.is_draining:
            return
        self.is_draining = True
        open_connections = list(self._loop.connections)
        for part in self._greenlets:
            part.stop()
        for position, connection in enumerate(open_connections, 1):
            connection.close(codes.RESTARTING, "restarting")
            if position % GOODBYES_AT_ONCE == 0:
                gevent.sleep(0.01)
        deadline = time.monotonic() + self.limits.close_seconds / 2
        while self._loop.connections and time.monotonic() < deadline:
            gevent.sleep(0.01)
        for connection in list(self._loop.connections):
            self._loop.drop(connection)
        self._deliveries.finish()
        self._presence.finish()
        log.info("live_stopped", closed=len(open_connections))

    def counts(self) -> dict[str, Any]:
        """What this process holds now, and why it closed connections."""
        return {
            "connections": len(self._loop.connections),
            "people": len(self._hub),
            "unauthenticated": len(self._anonymous),
            "slow": len(self._loop.slow),
            "closed": dict(self._loop.closed),
            "redis": self._subscriber.is_connected,
        }

    # The door: see socket.py

    @property
    def is_full(self) -> bool:
        return self.is_draining or len(self._loop.connections) >= self.settings.max_sockets

    def unauthenticated_from(self, address: str) -> int:
        return self._anonymous.of(address)

    def park(self, fd: int, admission: socket.Admission, early: bytes) -> None:
        """Take over a socket after its handshake; `early` came with it."""
        connection = self._loop.park(fd)
        if admission.claims is None:
            self._anonymous.add(connection, admission.address)
        else:
            self._is_known(connection, admission.claims, admission.address)
        if early:
            gevent.get_hub().loop.run_callback(self._loop.received, connection, early)

    def _is_known(self, connection: Connection, claims: Claims, address: str) -> None:
        self._anonymous.discard(connection)
        connection.expires_at = claims.expires_at.timestamp()
        self._welcome.put(Arrival(connection, claims.person, address))

    def _gone(self, connection: Connection) -> None:
        self._anonymous.discard(connection)
        self._hub.leave(connection)
        self._presence.left(connection)

    # What browsers say: see protocol.py

    def authenticate(self, connection: Connection, ticket: str | None, token: str | None) -> None:
        if connection.expires_at:
            raise InvalidInput("authenticate: this connection is authenticated already")
        address = self._anonymous.address(connection)
        if ticket is not None:
            self._proofs.put(Proof(connection, address, partial(self.authenticator.redeem_ticket, ticket)))
            return
        proof = Proof(connection, address, partial(self.authenticator.verify_token, token or ""))
        if is_quick(self.settings, token or ""):
            self._check_one(proof)
        else:
            self._proofs.put(proof)

    def resume(self, connection: Connection, cursor: str, have: frozenset[int]) -> None:
        gate = connection.gate
        if gate is None or gate.holds or gate.until_tail is not None:
            connection.queue(json_frame("reset", reason="resume comes once, soon after connected"))
            return
        written = frozenset(gate.passed or ())
        gate.hold()
        self._resume.put(Request(connection, cursor, have, written))

    def read(self, connection: Connection, event_ids: list[int]) -> None:
        self._receipts.put(connection, event_ids, read=True)

    def seen(self, connection: Connection, event_ids: list[int]) -> None:
        self._receipts.put(connection, event_ids, read=False)

    def heard(self, connection: Connection) -> None:
        self._deliveries.heard(connection)

    def pong(self, connection: Connection) -> None:
        """Everything stored below the cursor we name has been written to this connection before."""
        pong: dict[str, str] = {}
        known, latest = connection.cursor, self._tail.cursor
        if known is not None and not (connection.gate and connection.gate.holds):
            if latest is not None and latest.xmin > known.xmin:
                connection.cursor = known = latest
            pong["cursor"] = known.text
        connection.queue(json_frame("pong", **pong))

    def _check(self, waiting: list[Proof]) -> None:
        for _ in Pool(PROOFS_AT_ONCE).imap_unordered(self._check_one, waiting):
            pass

    def _check_one(self, proof: Proof) -> None:
        connection = proof.connection
        try:
            claims = proof.claims()
        except (Unauthorized, Forbidden) as error:
            connection.close(codes.BAD_CREDENTIALS, error.message)
            self.refusals.remember(error, Actor(NOBODY, proof.address), DOOR)
        except Unavailable:
            connection.close(codes.UNAVAILABLE, "try again later")
        else:
            if not connection.closing and connection.fd >= 0 and not connection.expires_at:
                self._is_known(connection, claims, proof.address)

    def _person_refused(self, arrival: Arrival, error: NotificationError) -> None:
        self.refusals.remember(error, Actor.person(arrival.person, arrival.address), DOOR)

    # What Redis brings: see subscriber.py

    def _installation(self) -> str:
        self._tail.begin()
        return self._tail.installation

    def _receive(self, message: LiveMessage) -> None:
        if isinstance(message, BatchMessage):
            self._hub.receive(message)
        elif isinstance(message, StateMessage):
            self._state.receive(message)
        elif isinstance(message, PeopleMessage):
            self._tail.ring()

    def _hiccup(self) -> None:
        self._tail.ring()
        self._state.mark_everyone()

    def _announce(self, messages: list[StateMessage]) -> None:
        """Tell all gateways; if Redis can't, at least the tabs here."""
        try:
            if self._redis is None:
                self._redis = connect(self.settings, max_connections=2)
            topic = live_topic(self._tail.installation)
            with self._redis.pipeline(transaction=False) as pipeline:
                for message in messages:
                    pipeline.publish(topic, message.encode())
                pipeline.execute()
        except redis.RedisError as error:
            log.warning("announcing_failed", error=type(error).__name__)
            for message in messages:
                self._state.receive(message)
