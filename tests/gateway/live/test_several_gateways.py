"""More than one gateway on the same Redis, and the end of one."""

from __future__ import annotations

import time

from tests.gateway.live.raw_client import RawClient
from tests.system import wait_until


def test_each_gateway_hands_a_batch_to_its_own_browsers(start_gateway, company, worker):
    one, two = start_gateway(), start_gateway()
    user_id = company.person("1")
    with one.connect(company.token("1")) as here, two.connect(company.token("1")) as there:
        event_id = worker.send([user_id])
        for client in (here, there):
            assert client.wait_for("notification")["notification"]["id"] == event_id
        here.send(type="read", ids=[event_id])
        assert there.wait_for("state", lambda frame: "read" in frame)["read"] == [event_id]


def test_sigterm_closes_everyone_with_come_back_and_ends(start_gateway, company):
    gateway = start_gateway(MAX_SOCKETS_PER_PERSON="200")
    company.person("1")
    token = company.token("1")
    clients = []
    for _ in range(200):  # one after the other: gunicorn ends a connection that asks nothing for 5 s
        clients.append(RawClient(gateway.port))
        clients[-1].upgrade(token)
        clients[-1].wait_for("connected")
    began = time.monotonic()
    assert gateway.terminate() == 0
    assert time.monotonic() - began < 6
    assert {client.wait_closed() for client in clients} == {1012}
    for client in clients:
        client.sock.close()


def test_who_was_connected_resumes_at_another_gateway(start_gateway, company, worker):
    one, two = start_gateway(), start_gateway()
    user_id = company.person("1")
    with one.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
        have = worker.send([user_id])
        client.wait_for("notification")
        one.terminate()
        assert client.wait_closed() == 1012
    missed = worker.send([user_id])
    with two.connect(company.token("1")) as client:
        client.send(type="resume", cursor=cursor, have=[have])
        client.wait_for("resumed")
        assert [frame["notification"]["id"] for frame in client.collect("notification")] == [missed]


def test_connections_that_ended_are_forgotten(gateway, company):
    company.person("1")
    for _ in range(20):
        with gateway.connect(company.token("1")):
            pass
    wait_until(lambda: gateway.counts()["connections"] == gateway.counts()["people"] == 0, "all are gone")
