"""People who come together are loaded together, and none of them answers for another."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

from gateway.auth import Authenticator
from gateway.live import Live
from gateway.live.changes import ChangedPeople
from gateway.live.welcome import Arrival, Welcome
from gateway.refusals import Refusals
from tests.swarm import CLOSE, TEXT, server_frame


def test_one_bad_arrival_fails_alone(company, settings):
    names = ["1", "2", "\ud800", "3", "4"]  # the third can't even be sent to PostgreSQL
    company.people(["1", "2", "3", "4"])
    live = Live(settings, Authenticator(settings), Refusals(settings))
    hub, presence = live._hub, live._presence
    people = ChangedPeople(hub, presence, live._state.tell)
    welcome = Welcome(settings, hub, live._tail, people, presence)

    with ExitStack() as stack:
        arrivals, peers = [], []
        for name in names:
            ours, peer = socket.socketpair()
            peers.append(stack.enter_context(peer))
            ours.setblocking(False)
            arrivals.append(Arrival(live._loop.park(ours.detach()), name, "127.0.0.1"))
        welcome.serve(arrivals)
        for name, peer in zip(names, peers, strict=True):
            opcode, payload, _ = server_frame(peer.recv(65536))
            if name == "\ud800":
                assert (opcode, payload[:2]) == (CLOSE, (1011).to_bytes(2))
            else:
                assert opcode == TEXT
                assert json.loads(payload)["user"]["id"] == name
        assert len(hub) == 4
        assert all(len(list(hub.of(user_id))) == 1 for user_id in hub.present())
        for arrival in arrivals:
            live._loop.drop(arrival.connection)
