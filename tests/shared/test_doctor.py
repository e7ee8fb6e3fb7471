"""`stagebloom doctor` finds what is wrong, on servers where it really is wrong, and says how to mend it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.commands import doctor as command
from shared.database import engine, transaction
from shared.doctor import (
    Check,
    Finding,
    deliveries,
    examine,
    people,
    pipeline,
    public,
    servers,
    storage,
    versions,
)
from shared.events import EventDraft, record_event
from shared.ids import first_event_id_at
from shared.migrations import upgrade
from shared.models import Base
from shared.partitions import make_partitions
from shared.settings import Settings
from tests.company import Company
from tests.databases import new_database
from tests.system import System

NOWHERE = {
    "database_url": "postgresql+psycopg2://nobody:secret-word@127.0.0.1:9/x",
    "redis_url": "redis://:secret-word@127.0.0.1:9/0",
    "broker_url": "amqp://nobody:secret-word@127.0.0.1:9//",
    "public_url": "http://127.0.0.1:9",
}


@pytest.fixture
def own(settings: Settings) -> Iterator[Settings]:
    """A database of its own, to be broken."""
    with new_database(settings) as database:
        upgrade(database)
        found = settings.model_copy(update={"database_url": database.url.render_as_string(hide_password=False)})
        yield found
        engine(found).dispose()


def found(check: Check, settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in check(settings)}


def run(settings: Settings, statement: str, **values: object) -> None:
    with transaction(settings) as session:
        session.execute(text(statement), values)


def record(settings: Settings, *audience: str, count: int = 1, source: str = "") -> list[int]:
    with transaction(settings) as session:
        draft = EventDraft(audience=list(audience), title="Encore", message="M", source=source)
        return [record_event(session, draft, settings).id for _ in range(count)]


def test_a_running_system_is_healthy(system: System, company: Company, settings: Settings) -> None:
    for role in ("admin", "rh"):
        company.person(role, f"role_{role}")
    findings = list(examine(settings.model_copy(update={"public_url": system.base_url})))
    assert [one for one in findings if one.level != "ok"] == []
    assert {one.check for one in findings} == {
        "PostgreSQL",
        "Redis",
        "broker",
        "WebSocket",
        "migrations",
        "versions",
        "clock",
        "roles",
        "people",
        "events",
        "batches",
        "failed",
        "deliveries",
        "duplicates",
        "indexes",
        "partitions",
    }
    websocket = next(one for one in findings if one.check == "WebSocket")
    assert "handshake, connected, ping and pong" in websocket.message


def test_servers_that_are_away_are_named_without_passwords_and_stop_no_other_check(settings: Settings) -> None:
    findings = {one.check: one for one in examine(settings.model_copy(update=NOWHERE))}
    for check in ("PostgreSQL", "Redis", "broker", "WebSocket"):
        assert findings[check].level == "wrong"
        assert "127.0.0.1:9" in findings[check].message
        assert findings[check].remedy
    assert "events" not in findings
    assert "secret-word" not in repr(findings)


def test_redis_tells_its_memory_and_clients(settings: Settings) -> None:
    details = found(servers.check_redis, settings)["Redis"].details
    assert details["used_memory_bytes"] > 0
    assert details["connected_clients"] >= 1


def test_a_queue_full_of_doorbells_is_noted(settings: Settings, clean: None) -> None:
    from shared.redis import connect
    from shared.tasks import BULK

    with connect(settings) as client:
        client.lpush(BULK, b"x", b"x", b"x")
    finding = found(servers.check_broker, settings.model_copy(update={"notification_queue_size": 3}))["broker"]
    assert (finding.level, finding.details["queues"][BULK]) == ("note", 3)


def test_a_public_address_that_is_no_gateway_is_wrong(settings: Settings, system: System) -> None:
    away = settings.model_copy(update={"public_url": "http://127.0.0.1:9"})
    assert "can't be reached" in found(public.check_websocket, away)["WebSocket"].message
    finding = found(
        public.check_websocket,
        settings.model_copy(
            update={
                "public_url": settings.redis.replace("redis://", "http://").partition("@")[0].rpartition(":")[0]
                or "http://127.0.0.1:1"
            }
        ),
    )["WebSocket"]
    assert finding.level == "wrong"


def test_roles_that_match_nobody_and_people_without_one_are_noted(company: Company, settings: Settings) -> None:
    company.groups("role_tuteur")
    company.person("gone", "role_rh", is_active=False)
    company.person("1", "role_admin")
    company.person("2", "stage_1")
    findings = list(people.check_people(settings))
    assert [(one.check, one.level) for one in findings] == [("roles", "note"), ("people", "note")]
    assert findings[0].details["roles"] == ["rh", "tuteur"]
    assert findings[1].details["people"] == ["2"]
    for one in findings:
        assert one.remedy


def test_when_nobody_has_a_role_that_is_wrong(company: Company, settings: Settings) -> None:
    company.person("1")
    assert found(people.check_people, settings)["people"].level == "wrong"


def test_a_role_that_a_setting_misspells_is_noted(company: Company, settings: Settings) -> None:
    company.people(["1"], "role_admin", "role_rh")
    finding = found(people.check_people, settings.model_copy(update={"send_roles": ("admin", "RH")}))["roles"]
    assert finding.details["roles"] == ["RH"]


def test_roles_that_differ_only_in_case_or_accents_are_named_together(company: Company, settings: Settings) -> None:
    for n, role in enumerate(("stagiaire", "STAGIAIRE", "élève", "eleve", "admin", "rh")):
        company.person(str(n), f"role_{role}")
    findings = list(people.check_people(settings))
    assert sorted((one.level, one.message) for one in findings if one.check == "roles") == [
        ("note", "differ only in letter case or accents: STAGIAIRE and stagiaire"),
        ("note", "differ only in letter case or accents: eleve and élève"),
    ]


def test_events_that_nobody_takes_are_wrong_and_young_ones_are_not(company: Company, settings: Settings) -> None:
    company.groups("role_rh")
    (event_id,) = record(settings, "role_rh")
    assert found(pipeline.check_events, settings)["events"].level == "ok"
    run(settings, "UPDATE notification_events SET created_at = now() - interval '2 minutes'")
    finding = found(pipeline.check_events, settings)["events"]
    assert finding.level == "wrong"
    assert (finding.details["count"], finding.details["oldest_event_id"]) == (1, event_id)
    assert finding.details["oldest_age_seconds"] >= 120
    assert f"stagebloom events show {event_id}" in finding.remedy


@pytest.mark.parametrize(
    ("columns", "word"),
    [("NULL, NULL, NULL", "not stored"), ("'1', now() - interval '2 minutes', NULL", "not announced")],
)
def test_batches_that_stand_still_are_wrong(company: Company, settings: Settings, columns: str, word: str) -> None:
    company.groups("role_rh")
    (event_id,) = record(settings, "role_rh")
    run(settings, "UPDATE notification_events SET status = 'planned', planned_at = now() - interval '2 minutes'")
    run(
        settings,
        f"INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids, stored_xid, stored_at, published_at) VALUES (:id, 0, 'notification', 'fr', '{{1}}', {columns})",
        id=event_id,
    )
    finding = found(pipeline.check_events, settings)["batches"]
    assert finding.level == "wrong"
    assert word in finding.message


def test_failed_events_are_wrong_for_a_week(company: Company, settings: Settings) -> None:
    company.groups("role_rh")
    (event_id,) = record(settings, "role_rh")
    run(settings, "UPDATE notification_events SET status = 'failed', error = 'too_old'")
    finding = found(pipeline.check_events, settings)["failed"]
    assert (finding.level, finding.details["event_ids"]) == ("wrong", [event_id])
    run(
        settings, "UPDATE notification_events SET id = :id", id=first_event_id_at(datetime.now(UTC) - timedelta(days=8))
    )
    assert found(pipeline.check_events, settings)["failed"].level == "ok"


def deliver(settings: Settings, channel: str, status: str, reason: str | None, ago: str) -> None:
    (event_id,) = record(settings, "role_rh")
    run(
        settings,
        "INSERT INTO deliveries (event_id, channel, status, reason, next_attempt_at, created_at, finished_at)"
        " VALUES (:id, :channel, :status, :reason, now() - :ago ::interval, now() - :ago ::interval, now() - :ago ::interval)",
        id=event_id,
        channel=channel,
        status=status,
        reason=reason,
        ago=ago,
    )


def test_a_channel_that_rests_is_wrong_and_says_until_when_and_why(company: Company, settings: Settings) -> None:
    run(
        settings,
        "UPDATE delivery_channels SET failures = 3, paused_until = '2100-01-01 12:00Z', error = 'no route' WHERE channel = 'email'",
    )
    finding = found(deliveries.check_deliveries, settings)["deliveries"]
    assert finding.level == "wrong"
    assert finding.message == "email rests after 3 failures in a row, until 2100-01-01T12:00:00Z: no route"
    run(settings, "UPDATE delivery_channels SET failures = 0, paused_until = NULL, error = NULL")
    assert found(deliveries.check_deliveries, settings)["deliveries"].level == "ok"


def test_deliveries_that_wait_for_long_are_wrong_and_young_ones_are_not(company: Company, settings: Settings) -> None:
    company.groups("role_rh")
    deliver(settings, "webhook", "pending", None, "1 minute")
    assert found(deliveries.check_deliveries, settings)["deliveries"].level == "ok"
    deliver(settings, "webhook", "pending", None, "1 hour")
    finding = found(deliveries.check_deliveries, settings)["deliveries"]
    assert (finding.level, finding.details["channel"], finding.details["count"]) == ("wrong", "webhook", 2)
    assert "WEBHOOK_URL" in finding.remedy
    run(settings, "UPDATE deliveries SET next_attempt_at = now()")
    assert found(deliveries.check_deliveries, settings)["deliveries"].level == "ok", (
        "what was replayed waits since then"
    )


@pytest.mark.parametrize(("ago", "level"), [("1 hour", "wrong"), ("3 days", "note"), ("8 days", "ok")])
def test_failed_deliveries_are_wrong_for_a_day_and_told_for_a_week(
    company: Company, settings: Settings, ago: str, level: str
) -> None:
    company.groups("role_rh")
    deliver(settings, "email", "failed", "refused", ago)
    deliver(settings, "webhook", "failed", "gone", ago)
    finding = found(deliveries.check_deliveries, settings)["deliveries"]
    assert finding.level == level
    if level != "ok":
        assert finding.message == "failed within a week: 1 email (refused), 1 webhook (gone)"
        assert "deliveries list --status failed" in finding.remedy
        assert "replay" in finding.remedy


def test_a_sender_in_a_loop_is_noted_and_a_busy_one_is_not(company: Company, settings: Settings) -> None:
    company.groups("role_rh", "role_tuteur", *(f"stage_{n}" for n in range(20)))
    for n in range(20):
        record(settings, f"stage_{n}", source="crm")
    assert found(pipeline.check_duplicates, settings)["duplicates"].level == "ok"
    record(settings, "role_rh", count=30, source="crm")  # two minutes of it at most: one of them has over ten
    finding = found(pipeline.check_duplicates, settings)["duplicates"]
    assert (finding.level, finding.details["source"]) == ("note", "crm")
    assert "Encore" not in finding.message, "contents are not shown"


def test_missing_and_invalid_indexes_are_wrong(own: Settings) -> None:
    assert found(storage.check_indexes, own)["indexes"].details["count"] == sum(
        len(table.indexes) for table in Base.metadata.tables.values()
    )
    run(own, "DROP INDEX memberships_user_id")
    run(own, "INSERT INTO users (external_id) VALUES ('1'), ('2')")
    with (
        engine(own).connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(IntegrityError),
    ):
        connection.execute(text("CREATE UNIQUE INDEX CONCURRENTLY half_made ON users (name)"))
    findings = list(storage.check_indexes(own))
    assert [(one.level, one.message) for one in findings] == [
        ("wrong", "missing: memberships_user_id"),
        ("wrong", "invalid: half_made"),
    ]


def test_partitions_that_are_missing_ahead_or_too_old_are_wrong(own: Settings) -> None:
    assert found(storage.check_partitions, own)["partitions"].level == "ok"
    with Session(engine(own)) as session, session.begin():
        make_partitions(session, datetime.now(UTC) - timedelta(days=70))
    finding = found(storage.check_partitions, own)["partitions"]
    assert finding.level == "wrong"
    assert "still there" in finding.message
    finding = found(storage.check_partitions, own.model_copy(update={"notification_retention_days": 365}))["partitions"]
    assert finding.level == "ok"
    next_week = datetime.now(UTC) + timedelta(days=7)
    monday = next_week - timedelta(days=next_week.weekday())
    run(own, f"DROP TABLE notifications_{monday:%Y%m%d}")
    assert any("can't be stored" in one.message for one in storage.check_partitions(own))


def test_a_database_behind_its_code_is_wrong(settings: Settings) -> None:
    with new_database(settings) as database:
        own = settings.model_copy(update={"database_url": database.url.render_as_string(hide_password=False)})
        finding = found(versions.check_versions, own)["migrations"]
        assert (finding.level, finding.remedy) == ("wrong", "Run `stagebloom migrate`.")
        assert all(one.level == "wrong" for one in examine(own) if one.check in ("roles", "events", "partitions"))
        engine(own).dispose()


def test_clocks_that_disagree_are_wrong(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(versions.check_clock, settings)["clock"].level == "ok"
    real = versions.time.time
    monkeypatch.setattr(versions.time, "time", lambda: real() + 60)
    finding = found(versions.check_clock, settings)["clock"]
    assert finding.level == "wrong"
    assert finding.details["seconds"] >= 59


def test_the_command_exits_with_1_when_something_is_wrong(
    settings: Settings, clean: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        command, "examine", lambda settings: iter([servers.fine("a", "b"), servers.wrong("c", "d", "e")])
    )
    done = CliRunner().invoke(command.doctor, ["--json"])
    assert done.exit_code == 1
    assert json.loads(done.output)["healthy"] is False
    shown = CliRunner().invoke(command.doctor)
    assert "✗ c: d" in shown.output
    assert "→ e" in shown.output
    monkeypatch.setattr(command, "examine", lambda settings: iter([servers.fine("a", "b")]))
    assert CliRunner().invoke(command.doctor).exit_code == 0
