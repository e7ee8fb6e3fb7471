"""Counts are exact after a journey through the whole system, and after workers were killed in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx

from producer import NotificationService
from shared.database import transaction
from shared.models import DailyCount, EventCount
from shared.settings import Settings
from tests.company import Company
from tests.gateway.live.gateway_process import GatewayProcess
from tests.live_client import LiveClient, connect
from tests.system import System, wait_until

API = "/api/notifications"


@contextmanager
def browsers(company: Company, *at: tuple[str, str]) -> Iterator[list[LiveClient]]:
    """Connected browsers: (address, person)."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(address, company.token(person))) for address, person in at]


def statistics(system: System, company: Company) -> dict[str, Any]:
    found: dict[str, Any] = (
        httpx.get(f"{system.base_url}{API}/system-stats/", headers=company.bearer("admin"), timeout=10)
        .raise_for_status()
        .json()
    )
    return found


def test_counts_are_exact_after_a_journey_of_two_roles_and_two_gateways(
    system: System, company: Company, settings: Settings
) -> None:
    company.person("admin", "role_admin")
    company.people(["1", "2"], "role_rh")
    company.people(["3", "4", "5"], "role_tuteur")
    service = NotificationService()
    with (
        GatewayProcess(settings) as second,
        browsers(
            company, (system.base_url, "1"), (second.base_url, "1"), (second.base_url, "3"), (system.base_url, "4")
        ) as clients,
    ):
        first = service.send_role_notifications(["rh", "tuteur"], "Premier", "M")
        for client in clients:
            client.wait_for("role_notification")
        one, other_tab, three, _ = clients  # 4 says nothing
        one.send(type="read", ids=[first.id])
        other_tab.settle()
        three.send(type="seen", ids=[first.id])
        three.settle()
        second_event = service.send_role_notifications(["rh"], "Second", "M", notification_type="warning")
        one.wait_for("role_notification")
        with httpx.Client(base_url=f"{system.base_url}{API}", headers=company.bearer("2")) as rest:
            wait_until(lambda: rest.get("/notifications/unread-count/").json()["unread_count"] == 2, "both are stored")
            rest.post(f"/notifications/{first.id}/read/")
            rest.delete(f"/notifications/{second_event.id}/delete/")

        expected = {"sent": 2, "stored": 7, "delivered": 2, "seen": 3, "read": 2, "deleted": 1}
        wait_until(
            lambda: statistics(system, company)["total"] == expected,
            "the counts",
            explain=lambda: f"{statistics(system, company)}\n{system.logs()}",
        )
        found = statistics(system, company)
        assert found["by_role"] == {
            "rh": {"sent": 2, "stored": 4, "delivered": 1, "seen": 2, "read": 2, "deleted": 1},
            "tuteur": {"sent": 1, "stored": 3, "delivered": 1, "seen": 1, "read": 0, "deleted": 0},
        }
        assert found["by_type"]["warning"] == {
            "sent": 1,
            "stored": 2,
            "delivered": 0,
            "seen": 0,
            "read": 0,
            "deleted": 1,
        }
        assert list(found["by_day"].values()) == [expected]
        assert (found["delivery_success_rate"], found["read_rate"]) == (0.2857, 0.2857)
        connected = found["connections"]
        assert (connected["total"], connected["people"]) == (4, 4)  # 1 is one of the people of both gateways
        assert connected["by_role"] == {
            "rh": {"connections": 2, "people": 2},
            "tuteur": {"connections": 2, "people": 2},
        }
        assert len(found["connections"]["gateways"]) >= 2
        assert found["queue"]["oldest_unprocessed_seconds"] is None
        assert found["times"]["store"]["notifications"] == 7
        assert 0 < found["times"]["store"]["p50_ms"] <= found["times"]["store"]["p99_ms"] < 20_000
        assert found["times"]["socket"]["notifications"] >= 4
        own = httpx.get(f"{system.base_url}{API}/notifications/statistics/", headers=company.bearer("2")).json()
        assert (own["total"], own["unread"], own["read_rate"]) == (1, 0, 1.0)


def test_killed_workers_double_no_count(system: System, company: Company, settings: Settings) -> None:
    people = company.people([str(n) for n in range(20_000)], "role_stagiaire")
    service = NotificationService()
    sent = [service.send_role_notifications(["stagiaire"], f"Nr. {n}", "M").id for n in range(3)]
    for moment in (
        "event_batches",  # planning has begun
        "event_batches WHERE stored_at IS NOT NULL",
        "(SELECT FROM event_batches WHERE stored_at IS NOT NULL OFFSET 20) AS stored",  # of 60
        "event_counts",  # some is counted
    ):
        wait_until(lambda moment=moment: company.count(moment), moment, 60, system.logs)  # type: ignore[misc]
        for name in ("worker", "bulk"):
            system.kill(name)
            system.start(name)

    def stored() -> int:
        with transaction(settings) as session:
            return sum(row.stored for row in session.query(DailyCount).filter_by(role=""))

    wait_until(lambda: stored() >= 3 * len(people), "everything is stored and counted", 90, explain=system.logs)
    wait_until(lambda: company.count("event_batches WHERE stored_at IS NULL") == 0, "nothing is left")
    with transaction(settings) as session:
        assert {row.event_id: row.stored for row in session.query(EventCount)} == dict.fromkeys(sent, len(people))
        days = {row.role: (row.sent, row.stored) for row in session.query(DailyCount)}
    assert days == dict.fromkeys(("", "stagiaire"), (3, 3 * len(people)))
