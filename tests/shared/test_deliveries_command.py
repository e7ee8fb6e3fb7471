"""`stagebloom deliveries`, as a process of its own."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.settings import Settings
from tests.company import Company
from tests.shared.test_cli import answered, refused, stagebloom

MAKE = text("""
    INSERT INTO deliveries (event_id, recipient_id, channel, status, reason, attempts, error)
    SELECT :event, users.id, 'email', 'failed', 'refused', 1, '550 [bold]no' FROM users ORDER BY id RETURNING id
""")


@pytest.fixture
def failed(company: Company, settings: Settings) -> list[int]:
    """Three failed mails of one event."""
    company.people(["1", "2", "3"])
    event = company.notify("1", "2", "3")
    with transaction(settings) as session:
        return list(session.scalars(MAKE, {"event": event}))


def statuses(settings: Settings) -> list[str]:
    with transaction(settings) as session:
        return list(session.scalars(text("SELECT status || attempts FROM deliveries ORDER BY id")))


def test_they_are_listed_for_people_and_for_machines(failed: list[int]) -> None:
    table = answered("deliveries", "list", "--status", "failed")
    assert "550 [bold]no" in table
    rows = [json.loads(line) for line in answered("deliveries", "list", "--limit", "2", "--json").splitlines()]
    assert [row["id"] for row in rows] == failed[:0:-1]
    assert rows[0]["recipient"] == "3"
    assert answered("deliveries", "list", "--channel", "webhook", "--json") == ""


def test_one_is_shown(failed: list[int]) -> None:
    assert json.loads(answered("deliveries", "show", str(failed[0]), "--json"))["reason"] == "refused"
    assert "550 [bold]no" in answered("deliveries", "show", str(failed[0]))
    assert "there is no delivery 99999999" in refused("deliveries", "show", "99999999")


def test_some_or_all_failed_ones_are_replayed(failed: list[int], settings: Settings) -> None:
    assert answered("deliveries", "replay", str(failed[1])) == "1 to be sent again\n"
    assert statuses(settings) == ["failed1", "pending0", "failed1"]
    assert answered("deliveries", "replay", "--failed", "--channel", "email", "--limit", "1") == "1 to be sent again\n"
    assert statuses(settings) == ["pending0", "pending0", "failed1"]
    assert answered("deliveries", "replay", "--failed", "--event", "1") == "0 to be sent again\n"
    assert answered("deliveries", "replay", "--failed") == "1 to be sent again\n"
    assert statuses(settings) == ["pending0"] * 3


def test_all_named_ones_are_replayed_or_none(failed: list[int], settings: Settings) -> None:
    with transaction(settings) as session:
        session.execute(text("UPDATE deliveries SET status = 'sent' WHERE id = :id"), {"id": failed[2]})
    assert f"delivery {failed[2]} is sent" in refused("deliveries", "replay", str(failed[0]), str(failed[2]))
    assert statuses(settings)[0] == "failed1"


def test_a_replay_says_which(failed: list[int]) -> None:
    assert stagebloom("deliveries", "replay").returncode == 2
    assert stagebloom("deliveries", "replay", "--failed", str(failed[0])).returncode == 2


def test_the_webhooks_secret_is_not_printed() -> None:
    secret = "whsec_" + "QUJD" * 10
    for options in ((), ("--json",)):
        shown = answered("settings", *options, WEBHOOK_URL="https://example.org/x", WEBHOOK_SECRET=secret)
        assert secret not in shown
        assert "(set)" in shown
