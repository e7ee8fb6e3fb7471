"""How deliveries ended is counted when they end, and taken back when they are sent again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared import deliveries
from shared.database import transaction
from shared.delivery_counts import delivery_counts
from shared.settings import Settings
from tests.company import Company
from tests.workers.delivery.conftest import Rows, add_addresses, plan, record_critical
from workers.delivery import claiming, turn
from workers.delivery.channel import Outcome, failed, retry, sent, skipped
from workers.delivery.email import EmailChannel

COUNTED_FOR_REAL = """
    SELECT status, count(*) FROM deliveries WHERE channel = 'email' AND status IN ('sent', 'failed', 'skipped') GROUP BY 1
"""


@pytest.fixture
def waiting(company: Company, mailing: Settings) -> int:
    """20 mails that are due."""
    company.people([str(n) for n in range(20)], "role_rh")
    add_addresses(company, mailing)
    event_id = record_critical(mailing, audience=["role_rh"])
    plan(mailing)
    return event_id


def counts(settings: Settings, since: int = 0) -> dict[str, int]:
    """Of mail, of events of the days from so many days ago."""
    with transaction(settings) as session:
        return delivery_counts(session, datetime.now(UTC).date() - timedelta(days=since), 1000)["email"]


def ends(*outcomes: Outcome) -> type[EmailChannel]:
    """A channel that sends as many as there are outcomes."""

    class Ending(EmailChannel):
        def send(self, rows: Any) -> Iterator[tuple[int, Outcome]]:
            yield from zip((row.delivery_id for row in rows), outcomes, strict=False)
            raise ZeroDivisionError("that is enough")

    return Ending


def test_each_end_is_counted_once_and_a_try_is_none(waiting: int, mailing: Settings, rows: Rows) -> None:
    assert counts(mailing) == {"sent": 0, "failed": 0, "skipped": 0, "pending": 20}
    outcomes = [
        sent(),
        sent(),
        sent(),
        failed("refused", "550"),
        failed("refused", "550"),
        skipped("confirmed"),
        retry("later"),
    ]
    turn.take_turn(ends(*outcomes)(mailing))
    assert counts(mailing) == {"sent": 3, "failed": 2, "skipped": 1, "pending": 14}
    assert dict(rows(COUNTED_FOR_REAL)) == {"sent": 3, "failed": 2, "skipped": 1}


def test_what_a_lost_claim_records_is_not_counted(waiting: int, mailing: Settings, rows: Rows) -> None:
    with transaction(mailing) as session:
        held = claiming.claim(session, EmailChannel(mailing))
    assert held is not None
    rows("UPDATE deliveries SET claimed_at = now() + interval '1 second'")  # somebody else's
    with transaction(mailing) as session:
        claiming.record(session, held, min(held.attempts), sent())
    assert counts(mailing) == {"sent": 0, "failed": 0, "skipped": 0, "pending": 20}


def test_one_that_is_replayed_has_not_ended_any_more(waiting: int, mailing: Settings, rows: Rows) -> None:
    turn.take_turn(ends(failed("refused", "550"), failed("refused", "550"), skipped("no_address"))(mailing))
    with transaction(mailing) as session:
        assert len(deliveries.replay_failed(session, "email", None, 1)) == 1
    assert counts(mailing) == {"sent": 0, "failed": 1, "skipped": 1, "pending": 18}
    (skipped_id,) = (row.id for row in rows("SELECT id FROM deliveries WHERE status = 'skipped'"))
    with transaction(mailing) as session:
        deliveries.replay(session, skipped_id)
    assert counts(mailing) == {"sent": 0, "failed": 1, "skipped": 0, "pending": 19}
    with transaction(mailing) as session:
        deliveries.replay(session, skipped_id)  # it waits already
    assert counts(mailing)["skipped"] == 0


def test_those_who_have_no_address_are_counted_when_they_are_planned(company: Company, mailing: Settings) -> None:
    company.people(["1", "2"], "role_rh")
    record_critical(mailing, audience=["role_rh"])
    assert plan(mailing) == (1, 0, 2)
    assert counts(mailing) == {"sent": 0, "failed": 0, "skipped": 2, "pending": 0}


def test_counts_are_of_the_day_of_the_event_and_stay_when_it_goes(waiting: int, mailing: Settings, rows: Rows) -> None:
    rows("UPDATE notification_events SET created_at = created_at - interval '1 day'")
    turn.take_turn(ends(sent(), failed("refused", "550"))(mailing))
    assert counts(mailing) == {"sent": 0, "failed": 0, "skipped": 0, "pending": 18}
    assert counts(mailing, since=1) == {"sent": 1, "failed": 1, "skipped": 0, "pending": 18}
    rows("DELETE FROM notification_events")
    assert counts(mailing, since=1) == {"sent": 1, "failed": 1, "skipped": 0, "pending": 0}


def test_what_waits_is_counted_up_to_a_limit(waiting: int, mailing: Settings) -> None:
    with transaction(mailing) as session:
        assert delivery_counts(session, datetime.now(UTC).date(), 5)["email"]["pending"] == 5
        session.execute(text("UPDATE deliveries SET status = 'sending'"))
        assert delivery_counts(session, datetime.now(UTC).date(), 100)["email"]["pending"] == 20
