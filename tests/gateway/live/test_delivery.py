"""Stored batches reach the sockets of their recipients, once."""

from __future__ import annotations

import time

from tests.system import wait_until


def test_a_connection_is_told_who_it_is(gateway, company):
    company.person("42", "role_rh", "stage_3")
    with gateway.connect(company.token("42")) as client:
        connected = client.received[0]
    assert connected["user"] == {"id": "42", "name": "Person 42", "roles": ["rh"], "locale": None}
    assert connected["groups"] == ["user_42", "role_rh", "stage_3"]
    assert connected["unread_count"] == 0
    assert connected["cursor"]


def test_a_batch_reaches_its_recipients_and_nobody_else(gateway, company, worker):
    first, second, _ = company.people(["1", "2", "3"])
    with (
        gateway.connect(company.token("1")) as one,
        gateway.connect(company.token("2")) as two,
        gateway.connect(company.token("3")) as three,
    ):
        event_id = worker.send([first, second], title="Bonjour", data={"stage": 3})
        for client in (one, two):
            frame = client.wait_for("notification")
            assert frame["notification"]["id"] == event_id
            assert frame["notification"]["title"] == "Bonjour"
            assert frame["notification"]["data"] == {"stage": 3}
            assert client.wait_for("state")["unread_count"] == 1
        assert [frame["type"] for frame in three.settle()] == ["pong"]


def test_a_batch_is_pushed_and_not_only_found(start_gateway, company, worker):
    gateway = start_gateway(limits={"tail_seconds": 600.0})  # on its own it would look in ten minutes
    started = time.monotonic()
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        wait_until(lambda: time.monotonic() > started + 1, "the second is over whose events are left to the tail")
        event_id = worker.send([user_id])
        assert client.wait_for("notification")["notification"]["id"] == event_id
