"""Browsers that read slowly, fall silent or outlive their token cost only themselves."""

from __future__ import annotations

from shared.database import transaction
from tests.gateway.live.raw_client import RawClient
from tests.swarm import PING, PONG
from tests.system import wait_until

LARGE = {"text": "x" * 15_000}


def send_8_megabytes(worker, user_id):
    """More than the kernel takes for a peer that doesn't read, and our own buffer."""
    with transaction(worker.settings) as session:
        messages = [worker.store([user_id], session=session, data=LARGE) for _ in range(500)]
    for message in messages:
        worker.publish(message)


def test_a_slow_reader_is_closed_with_come_back_and_nobody_else_waits(gateway, company, worker):
    slow_id, fast_id = company.people(["1", "2"])
    with RawClient(gateway.port, receive_buffer=4096) as slow, gateway.connect(company.token("2")) as fast:
        slow.upgrade(company.token("1"))
        slow.wait_for("connected")
        send_8_megabytes(worker, slow_id)
        event_id = worker.send([fast_id])
        assert fast.wait_for("notification")["notification"]["id"] == event_id
        wait_until(lambda: gateway.counts()["closed"].get("4001") == 1, "the slow one is given up")
        assert gateway.counts()["buffered_bytes"] < 2 * len(LARGE["text"])  # the frame that had begun, and the goodbye
        assert slow.wait_closed() == 4001  # whole frames, then the close frame: nothing is torn
        fast.settle()


def test_a_socket_that_takes_nothing_any_more_is_given_up(start_gateway, company, worker):
    gateway = start_gateway(
        limits={"stalled_seconds": 0.3, "sweep_seconds": 0.05, "buffer_bytes": 64 * 1024 * 1024, "close_seconds": 0.3}
    )
    user_id = company.person("1")
    with RawClient(gateway.port, receive_buffer=4096) as stalled:
        stalled.upgrade(company.token("1"))
        stalled.wait_for("connected")
        send_8_megabytes(worker, user_id)
        wait_until(lambda: gateway.counts()["closed"].get("4001") == 1, "the stalled one is given up")
        wait_until(lambda: gateway.counts()["connections"] == 0, "its socket is closed")


def test_a_peer_that_answers_no_ping_is_reaped(start_gateway, company):
    gateway = start_gateway(
        limits={"ping_after_seconds": 0.3, "lost_after_seconds": 1.0, "sweep_seconds": 0.05, "close_seconds": 0.3}
    )
    company.person("1")
    with RawClient(gateway.port) as half_open, gateway.connect(company.token("1")) as alive:
        half_open.upgrade(company.token("1"))
        half_open.wait_for("connected")
        assert half_open.frame()[0] == PING
        # websockets' client answers pings by itself, in a thread of its own
        wait_until(lambda: gateway.counts()["closed"].get("4008") == 1, "the half-open one is reaped")
        wait_until(lambda: gateway.counts()["connections"] == 1, "only the living one is left")
        alive.settle()
        assert half_open.wait_closed() == 4008


def test_a_peer_that_answers_pings_stays(start_gateway, company):
    gateway = start_gateway(limits={"ping_after_seconds": 0.2, "lost_after_seconds": 3.0, "sweep_seconds": 0.05})
    company.person("1")
    with RawClient(gateway.port) as client:
        client.upgrade(company.token("1"))
        client.wait_for("connected")
        for _ in range(18):  # 18 × 0.2 s and more: longer than the 3 s of silence allowed
            opcode, payload = client.frame()
            assert opcode == PING
            client.send(PONG, payload)
        assert gateway.counts()["connections"] == 1


def test_a_connection_ends_with_its_token(start_gateway, company):
    gateway = start_gateway(limits={"sweep_seconds": 0.05})
    company.person("1")
    with gateway.connect(company.token("1", lifetime_seconds=2)) as client:
        assert client.wait_closed() == 4002


def test_frames_due_together_leave_whole_and_in_order(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        event_ids = [worker.send([user_id], data=LARGE) for _ in range(50)]
        wait_until(lambda: client.settle() and len(client.collect("notification")) == 50, "all have come")
        assert [frame["notification"]["id"] for frame in client.collect("notification")] == event_ids
