"""Statistics: of one's own inbox, of the system, and who is connected."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import text

from shared.commands.statistics import connections, queue, stats
from shared.database import transaction
from shared.settings import Settings
from shared.statistics import system_counts
from tests.company import Company

OWN = "/api/notifications/notifications/statistics/"
SYSTEM = "/api/notifications/system-stats/"
STATUS = "/api/notifications/connections/status/"

GATEWAY = text("""
    INSERT INTO gateways (name, heard_at, connections, people, by_role)
    VALUES ('test', now() - make_interval(secs => :ago), :connections, :people, CAST(:by_role AS jsonb)) RETURNING id
""")
CONNECT = text("""
    INSERT INTO websocket_connections (gateway_id, number, user_id, connected_at)
    SELECT :gateway_id, number, person, now() FROM unnest(CAST(:people AS bigint[])) WITH ORDINALITY AS here (person, number)
""")


def connect(settings: Settings, people: list[int], ago: int = 0, **by_role: tuple[int, int]) -> None:
    """Connections of these people, so many connections and people of a role, through a gateway heard of so long ago."""
    counts = {role: {"connections": found[0], "people": found[1]} for role, found in by_role.items()}
    values = {"ago": ago, "connections": len(people), "people": len(set(people)), "by_role": json.dumps(counts)}
    with transaction(settings) as session:
        gateway_id = session.execute(GATEWAY, values).scalar_one()
        session.execute(CONNECT, {"gateway_id": gateway_id, "people": people})


def get(client: FlaskClient, company: Company, person: str, path: str, status: int = 200) -> Any:
    answer = client.get(path, headers=company.bearer(person))
    assert answer.status_code == status, answer.text
    return answer.json


@pytest.fixture(autouse=True)
def no_gateways(settings: Settings, clean: None) -> None:
    with transaction(settings) as session:
        session.execute(text("DELETE FROM gateways"))


def test_ones_own_inbox_is_counted_by_type_category_and_day(client: FlaskClient, company: Company) -> None:
    company.people(["1", "2"])
    events = [company.notify("1", "2", notification_type=kind) for kind in ("info", "info", "warning", "error")]
    company.notify("2")
    client.post(f"/api/notifications/notifications/{events[0]}/read/", headers=company.bearer("1"))
    client.delete(f"/api/notifications/notifications/{events[3]}/delete/", headers=company.bearer("1"))
    found = get(client, company, "1", OWN)
    today = datetime.now(UTC).date().isoformat()
    in_all = {"total": 3, "unread": 2, "seen": 1, "read": 1}
    assert found == {
        **in_all,
        "read_rate": 0.3333,
        "by_type": {
            "info": {"total": 2, "unread": 1, "seen": 1, "read": 1},
            "warning": {"total": 1, "unread": 1, "seen": 0, "read": 0},
        },
        "by_category": {"SYSTEM": in_all},
        "by_day": {today: in_all},
    }


def test_an_empty_inbox_has_no_rate(client: FlaskClient, company: Company) -> None:
    company.person("1")
    assert get(client, company, "1", OWN) == {
        "total": 0,
        "unread": 0,
        "seen": 0,
        "read": 0,
        "read_rate": None,
        "by_type": {},
        "by_category": {},
        "by_day": {},
    }


def test_system_statistics_are_for_administrators(client: FlaskClient, company: Company) -> None:
    company.person("1", "role_admin")
    company.person("2", "role_rh")
    get(client, company, "2", SYSTEM, status=403)
    assert client.get(SYSTEM).status_code == 401
    found = get(client, company, "1", SYSTEM)
    assert found["total"] == dict.fromkeys(("sent", "stored", "delivered", "seen", "read", "deleted"), 0)
    assert found["delivery_success_rate"] is None
    assert found["times"] == {
        step: {"notifications": 0, "p50_ms": None, "p95_ms": None, "p99_ms": None} for step in ("store", "socket")
    }
    assert found["queue"]["oldest_unprocessed_seconds"] is None
    assert set(found["queue"]["broker"]) >= {"events", "bulk", "upkeep"}
    get(client, company, "1", f"{SYSTEM}?days=0", status=400)
    get(client, company, "1", f"{SYSTEM}?dayz=1", status=400)


def test_the_delivery_success_rate_is_what_was_delivered_of_what_was_stored(
    client: FlaskClient, company: Company, settings: Settings
) -> None:
    company.person("1", "role_admin")
    counts = """
        INSERT INTO daily_counts (day, role, notification_type, category, sent, stored, delivered, read)
        VALUES (current_date, '', 'info', 'SYSTEM', 1, 3, 2, 1), (current_date, '', 'error', 'SYSTEM', 1, 5, 3, 0),
               (current_date, 'rh', 'info', 'SYSTEM', 1, 3, 2, 1)
    """
    with transaction(settings) as session:
        session.execute(text(counts))
    found = get(client, company, "1", SYSTEM)
    assert (found["delivery_success_rate"], found["read_rate"]) == (0.625, 0.125)
    nothing = {"seen": 0, "deleted": 0}
    assert found["total"] == {"sent": 2, "stored": 8, "delivered": 5, "read": 1, **nothing}
    assert found["by_role"] == {"rh": {"sent": 1, "stored": 3, "delivered": 2, "read": 1, **nothing}}
    assert {kind: one["stored"] for kind, one in found["by_type"].items()} == {"error": 5, "info": 3}


def test_times_are_read_out_of_the_histogram(client: FlaskClient, company: Company, settings: Settings) -> None:
    company.person("1", "role_admin")
    with transaction(settings) as session:
        session.execute(
            text(
                "INSERT INTO hourly_times SELECT date_trunc('hour', now()), 'store', bucket, people FROM (VALUES (16, 60), (24, 35), (40, 5)) AS v (bucket, people)"
            )
        )
        session.execute(text("INSERT INTO hourly_times VALUES (now() - interval '2 days', 'store', 80, 1000)"))
    assert get(client, company, "1", SYSTEM)["times"]["store"] == {
        "notifications": 100,
        "p50_ms": 16.0,
        "p95_ms": 64.0,
        "p99_ms": 1024.0,
    }


def test_how_deliveries_ended_is_shown_by_channel(client: FlaskClient, company: Company, settings: Settings) -> None:
    company.person("1", "role_admin")
    nothing = {"sent": 0, "failed": 0, "skipped": 0, "pending": 0, "success_rate": None}
    assert get(client, company, "1", SYSTEM)["deliveries"] == {"email": nothing, "webhook": nothing}
    with transaction(settings) as session:
        session.execute(
            text("""
            INSERT INTO daily_deliveries SELECT current_date - days, 'email', status, count
            FROM (VALUES (0, 'sent', 2), (6, 'sent', 1), (0, 'failed', 1), (1, 'skipped', 4), (7, 'failed', 50)) AS v (days, status, count)
        """)
        )
    assert get(client, company, "1", SYSTEM)["deliveries"] == {
        "email": {"sent": 3, "failed": 1, "skipped": 4, "pending": 0, "success_rate": 0.75},
        "webhook": nothing,
    }


def test_what_waits_and_for_how_long(client: FlaskClient, company: Company, settings: Settings) -> None:
    company.person("1", "role_admin")
    event_id = company.notify("1")
    with transaction(settings) as session:
        session.execute(
            text(
                "UPDATE notification_events SET status = 'pending', created_at = now() - interval '90 seconds' WHERE id = :id"
            ),
            {"id": event_id},
        )
        for status in ("pending", "sending", "sent"):
            session.execute(
                text("INSERT INTO deliveries (event_id, channel, status) VALUES (:id, :channel, :status)"),
                {"id": event_id, "channel": f"to {status}", "status": status},
            )
    queue_now = get(client, company, "1", SYSTEM)["queue"]
    assert queue_now["pending"] == 1
    assert queue_now["pending_deliveries"] == 2
    assert 90 <= queue_now["oldest_unprocessed_seconds"] < 120


def test_everyone_sees_their_own_connections_and_administrators_all(
    client: FlaskClient, company: Company, settings: Settings
) -> None:
    admin = company.person("1", "role_admin")
    one, two = company.people(["2", "3"], "role_rh")
    connect(settings, [admin, one, two], admin=(1, 1), rh=(2, 2))
    connect(settings, [two], rh=(1, 1))
    connect(settings, [one], ago=31, rh=(1, 1))  # its gateway is dead
    mine = get(client, company, "3", STATUS)["results"]
    assert [(row["user"]["id"], row["gateway"], row["is_active"]) for row in mine] == [("3", "test", True)] * 2
    found, path = [], f"{STATUS}?page_size=3"
    while path:
        page = get(client, company, "1", path)
        found += [row["user"]["id"] for row in page["results"]]
        path = page["next"]
    assert found == ["1", "2", "3", "3"]
    counted = get(client, company, "1", SYSTEM)["connections"]
    assert (counted["total"], counted["people"]) == (4, 4)  # 3 is one of the people of both gateways
    assert counted["by_role"] == {"admin": {"connections": 1, "people": 1}, "rh": {"connections": 3, "people": 3}}
    assert [one["connections"] for one in counted["gateways"]] == [3, 1]
    get(client, company, "1", f"{STATUS}?cursor=x", status=400)


def test_the_commands_print_what_the_api_says(company: Company, settings: Settings) -> None:
    connect(settings, [company.person("1", "role_rh")])
    assert json.loads(CliRunner().invoke(stats, ["--json"]).output)["total"]["stored"] == 0
    found = json.loads(CliRunner().invoke(connections, ["--json"]).output)
    assert (found["total"], found["connections"][0]["user"]["id"]) == (1, "1")
    assert json.loads(CliRunner().invoke(queue, ["--json"]).output)["pending"] == 0
    for command, words in (
        (stats, "in all"),
        (stats, "delivered: –, read: – of what was stored"),
        (stats, "webhook"),
        (connections, "1 connections of 1 people"),
        (queue, "oldest unprocessed"),
        (queue, "pending deliveries"),
    ):
        outcome = CliRunner().invoke(command, [])
        assert outcome.exit_code == 0, outcome.output
        assert words in outcome.output


def test_a_year_of_a_hundred_roles_is_added_up_at_once(company: Company, settings: Settings) -> None:
    """161,000 rows, added up by PostgreSQL: 30 ms. The second is for a busy machine."""
    with transaction(settings) as session:
        session.execute(
            text("""
            INSERT INTO daily_counts (day, role, notification_type, category, sent, stored)
            SELECT current_date - day, role, type, category, 10, 1000000
            FROM generate_series(0, 365) AS day, unnest(ARRAY['info', 'success', 'warning', 'error']) AS type,
                 (SELECT '' AS role, 'C' || n AS category FROM generate_series(1, 10) AS n
                  UNION ALL SELECT 'r' || n, '' FROM generate_series(1, 100) AS n) AS kind
        """)
        )
    with transaction(settings) as session:
        week = system_counts(session)
        began = time.perf_counter()
        year = system_counts(session, 366)
        assert time.perf_counter() - began < 1
    for found, days in ((week, 7), (year, 366)):
        assert found["total"]["stored"] == days * 40 * 1_000_000
        assert {kind: len(found[f"by_{kind}"]) for kind in ("role", "type", "category", "day")} == {
            "role": 100,
            "type": 4,
            "category": 10,
            "day": days,
        }
        assert found["by_role"]["r7"]["stored"] == days * 4 * 1_000_000
        assert found["by_type"]["error"]["sent"] == days * 10 * 10
        assert found["by_category"]["C3"]["sent"] == days * 4 * 10
        assert {day["stored"] for day in found["by_day"].values()} == {40 * 1_000_000}
    assert min(year["by_day"]) == year["since"]
