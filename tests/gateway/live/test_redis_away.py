"""Redis is killed, stopped or silent: what is stored arrives all the same, and nothing twice."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest
import redis

from shared.embedded import EmbeddedServers
from shared.redis import connect
from tests.gateway.live.conftest import Worker
from tests.gateway.live.gateway_process import GatewayProcess
from tests.system import wait_until

LIMITS = {"tail_seconds": 1.0, "tail_pause_seconds": 0.05, "silent_redis_seconds": 0.3}


@pytest.fixture
def own_redis(tmp_path):
    """A Valkey of its own, so that killing it disturbs no other test."""
    with EmbeddedServers(tmp_path, want_database=False, durable=False) as servers:
        yield servers


@pytest.fixture
def own_worker(own_redis, settings, clean):
    return Worker(settings.model_copy(update={"redis_url": own_redis.addresses.redis_url}))


@pytest.fixture
def own_gateway(own_worker):
    with GatewayProcess(own_worker.settings, LIMITS, REDIS_URL=own_worker.settings.redis) as process:
        yield process


def has(client, event_id):
    return lambda frame: frame["notification"]["id"] == event_id


def test_a_killed_redis_costs_nothing_and_is_found_again(own_redis, own_gateway, own_worker, company):
    user_id = company.person("1")
    with own_gateway.connect(company.token("1")) as client:
        before = own_worker.send([user_id])
        client.wait_for("notification", has(client, before))
        with contextlib.suppress(redis.RedisError), connect(own_worker.settings) as admin:
            os.kill(admin.info("server")["process_id"], signal.SIGKILL)
        wait_until(lambda: not own_gateway.counts()["redis"], "the gateway has noticed")
        during = own_worker.store([user_id]).event_id
        client.wait_for("notification", has(client, during))
        own_redis.stop()
        own_redis.start()
        wait_until(lambda: own_gateway.counts()["redis"], "the gateway has subscribed again")
        after = own_worker.send([user_id])
        client.wait_for("notification", has(client, after))
        client.settle()
        assert [frame["notification"]["id"] for frame in client.collect("notification")] == [before, during, after]
        wait_until(
            lambda: client.settle() and client.collect("state")[-1]["unread_count"] == 3,
            "the unread count is right",
        )


def test_a_silent_redis_is_given_up_and_found_again(own_gateway, own_worker, company):
    user_id = company.person("1")
    with connect(own_worker.settings) as admin:
        process_id = admin.info("server")["process_id"]
    with own_gateway.connect(company.token("1")) as client:
        os.kill(process_id, signal.SIGSTOP)
        try:
            during = own_worker.store([user_id]).event_id
            client.wait_for("notification", has(client, during))
            wait_until(lambda: not own_gateway.counts()["redis"], "the gateway has given it up")
        finally:
            os.kill(process_id, signal.SIGCONT)
        wait_until(lambda: own_gateway.counts()["redis"], "the gateway has subscribed again", 30)
        after = own_worker.send([user_id])
        client.wait_for("notification", has(client, after))


def test_a_cut_connection_is_made_again(own_gateway, own_worker, company):
    user_id = company.person("1")
    with own_gateway.connect(company.token("1")) as client, connect(own_worker.settings) as admin:
        for number in range(3):
            admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            missed = own_worker.send([user_id], title=f"Coupure {number}")
            client.wait_for("notification", has(client, missed))
        client.settle()
        assert len(client.collect("notification")) == 3
