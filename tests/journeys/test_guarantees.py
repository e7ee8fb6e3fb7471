"""The promises of docs/architecture.md, kept while processes are killed and servers are away."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack

from sqlalchemy import text
from sqlalchemy.orm import Session

from producer import NotificationService
from shared.database import engine, transaction
from shared.embedded import EmbeddedServers
from shared.settings import Settings
from tests.company import Company
from tests.live_client import connect
from tests.system import System, wait_until

PROGRESS = text("SELECT count(*), count(stored_at) FROM event_batches WHERE event_id = :id")
LISTENERS = 20


def progress(settings: Settings, event_id: int) -> tuple[int, int]:
    """Batches of an event, and how many of them are stored."""
    with transaction(settings) as session:
        total, stored = session.execute(PROGRESS, {"id": event_id}).one()
        return total, stored


def waits_for_a_lock(settings: Settings) -> bool:
    with transaction(settings) as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def test_a_rollback_leaves_nothing(system: System, company: Company, settings: Settings) -> None:
    company.person("1", "role_rh")
    with connect(system.base_url, company.token("1")) as client:
        with Session(engine(settings)) as session:
            NotificationService(session).send_role_notifications(["rh"], "never", "M")
            session.rollback()
        with Session(engine(settings)) as session, session.begin():
            NotificationService(session).send_role_notifications(["rh"], "kept", "M")
        assert client.wait_for("role_notification")["notification"]["title"] == "kept"
        assert company.count("notification_events") == company.count("notifications") == 1


def test_an_event_created_while_redis_is_away_is_delivered_after_it_returns(
    system: System, company: Company, servers: EmbeddedServers
) -> None:
    company.person("1", "role_rh")
    with connect(system.base_url, company.token("1")) as client:
        os.kill(servers.process_id("redis"), signal.SIGKILL)
        try:
            started = time.monotonic()
            sent = NotificationService().send_role_notifications(["rh"], "T", "M")
            took = time.monotonic() - started
        finally:
            servers.start_again("redis")
        assert took < 1.5, f"the caller waited {took:.2f} s for a broker that is away"
        frame = client.wait_for("role_notification", seconds=60)
        assert frame["notification"]["id"] == sent.id
        client.settle()
        assert len(client.collect("role_notification")) == 1


def test_a_worker_in_the_middle_of_its_work_outlives_redis(
    system: System, company: Company, settings: Settings, servers: EmbeddedServers
) -> None:
    company.person("1", "role_rh")
    workers = {name: system.process_id(name) for name in ("worker", "bulk", "deliveries")}
    with Session(engine(settings)) as blocker:
        blocker.execute(text("LOCK TABLE event_batches IN ACCESS EXCLUSIVE MODE"))
        sent = NotificationService().send_role_notifications(["rh"], "T", "M")
        wait_until(lambda: waits_for_a_lock(settings), "a worker is in the middle of its work")
        os.kill(servers.process_id("redis"), signal.SIGKILL)
        servers.start_again("redis")
        wait_until(
            lambda: "Connected to" in system.log("worker", 5), "the worker is back at Redis", explain=system.logs
        )
    assert len(sent.wait(30)) == 1
    assert len(NotificationService().send_role_notifications(["rh"], "T", "M").wait(30)) == 1
    assert {name: system.process_id(name) for name in workers if system.is_running(name)} == workers, system.logs()


def test_workers_killed_in_the_middle_of_50_000_people_lose_and_double_nothing(
    system: System, company: Company, settings: Settings
) -> None:
    ids = company.people([str(n) for n in range(50_000)], "role_all")
    company.person("outside", "role_other")
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(connect(system.base_url, company.token(str(n))))
            for n in range(0, 50_000, 50_000 // LISTENERS)
        ]
        outside = stack.enter_context(connect(system.base_url, company.token("outside")))
        sent = NotificationService().send_role_notifications(["all"], "T", "M")

        wait_until(lambda: progress(settings, sent.id)[1] > 0, "the first batches are stored", 60, system.logs)
        system.kill("bulk")
        system.kill("worker")
        total, stored = progress(settings, sent.id)
        assert 0 < stored < total == 50, f"the kill came at {stored} of {total} batches"
        assert company.count("notifications") == stored * settings.notification_batch_size

        system.start_missing()
        sent.wait(60)
        with transaction(settings) as session:
            people = session.scalars(
                text("SELECT recipient_id FROM notifications WHERE event_id = :id"), {"id": sent.id}
            ).all()
        assert sorted(people) == sorted(ids)
        for listener in listeners:
            listener.wait_for("role_notification", seconds=60)
            listener.settle()
            assert len(listener.collect("role_notification")) == 1
        outside.settle()
        assert outside.collect("role_notification") == []


def test_a_gateway_that_is_killed_comes_back_and_nothing_is_missed(system: System, company: Company) -> None:
    company.person("1", "role_rh")
    with connect(system.base_url, company.token("1")) as client:
        cursor = client.collect("connected")[0]["cursor"]
        system.kill("web")
        assert client.wait_closed() in (1006, 1012)
    sent = NotificationService().send_role_notifications(["rh"], "T", "M").wait()
    system.start_missing()
    with connect(system.base_url, company.token("1")) as client:
        client.send(type="resume", cursor=cursor)
        client.wait_for("resumed")
        assert [frame["notification"]["id"] for frame in client.collect("role_notification")] == [sent.id]
