"""Who sends what: shared by several workers, never twice at once, tried again at growing distances."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from shared.database import engine, transaction
from shared.settings import Settings
from shared.tasks import SEND_EMAILS, SEND_WEBHOOKS
from tests.company import Company
from tests.mail_server import MailServer
from tests.workers.delivery.conftest import Rows, add_addresses, plan, record_critical
from workers import tasks
from workers.delivery import claiming, turn
from workers.delivery.channel import ChannelDown, failed, retry, sent, skipped
from workers.delivery.email import EmailChannel


@pytest.fixture
def channel(mailing: Settings) -> EmailChannel:
    return EmailChannel(mailing)


@pytest.fixture
def waiting(company: Company, mailing: Settings) -> int:
    """120 mails that are due."""
    company.people([str(n) for n in range(120)], "role_rh")
    add_addresses(company, mailing)
    record_critical(mailing, audience=["role_rh"])
    plan(mailing)
    return 120


def claim(settings: Settings, channel: EmailChannel) -> claiming.Claim | None:
    with transaction(settings) as session:
        return claiming.claim(session, channel)


def test_workers_take_different_ones_and_only_so_many_send_at_once(
    waiting: int, mailing: Settings, channel: EmailChannel
) -> None:
    first, second = claim(mailing, channel), claim(mailing, channel)
    assert first is not None
    assert second is not None
    assert len(first.attempts) == len(second.attempts) == 50
    assert not set(first.attempts) & set(second.attempts)
    assert claim(mailing, channel) is None  # 20 are left, but two are sending
    with transaction(mailing) as session:
        claiming.give_back(session, first, list(first.attempts))
    third = claim(mailing, channel)
    assert third is not None
    assert not set(third.attempts) & set(second.attempts)


def test_a_row_that_somebody_holds_is_passed_over(waiting: int, mailing: Settings, channel: EmailChannel) -> None:
    with Session(engine(mailing)) as holder:
        held = set(holder.scalars(text("SELECT id FROM deliveries ORDER BY id LIMIT 10 FOR UPDATE")))
        taken = claim(mailing, channel)
        assert taken is not None
        assert not held & set(taken.attempts)


def test_several_workers_send_each_mail_once(
    waiting: int, mailing: Settings, mail_server: MailServer, rows: Rows
) -> None:
    def work() -> None:
        while rows("SELECT FROM deliveries WHERE status IN ('pending', 'sending') LIMIT 1"):
            tasks.send_emails()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(mail_server.recipients) == len(set(mail_server.recipients)) == waiting


def test_a_claim_that_is_over_records_nothing(
    waiting: int, mailing: Settings, channel: EmailChannel, rows: Rows
) -> None:
    late = claim(mailing, channel)
    assert late is not None
    rows("UPDATE deliveries SET next_attempt_at = now() WHERE status = 'sending'")
    second, third = claim(mailing, channel), claim(mailing, channel)
    assert second is not None
    assert third is not None
    one = min(set(late.attempts) & (set(second.attempts) | set(third.attempts)))
    with transaction(mailing) as session:
        claiming.record(session, late, one, failed("refused", "late"))
        claiming.give_back(session, late, [one])
    assert rows("SELECT status FROM deliveries WHERE id = :id", id=one)[0].status == "sending"


@pytest.mark.parametrize(
    ("outcome", "status", "attempts"),
    [
        (sent("x"), "sent", 1),
        (skipped("confirmed"), "skipped", 0),
        (failed("refused", "550\0 no"), "failed", 1),
        (retry("451"), "pending", 1),
    ],
)
def test_each_outcome_is_written_down(
    waiting: int, mailing: Settings, channel: EmailChannel, rows: Rows, outcome: Any, status: str, attempts: int
) -> None:
    held = claim(mailing, channel)
    assert held is not None
    one = min(held.attempts)
    with transaction(mailing) as session:
        claiming.record(session, held, one, outcome)
    found = rows("SELECT * FROM deliveries WHERE id = :id", id=one)[0]
    assert (found.status, found.attempts, found.claimed_at) == (status, attempts, None)
    assert (found.finished_at is None) is (status == "pending")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        ("450 4.2.1 <ann@example.org>: busy with 'Évacuation'", "450 4.2.1"),
        ('500 {"title": "Évacuation"}', "500"),
        ("503", "503"),
        ("ConnectionRefusedError: [Errno 111] refused", "ConnectionRefusedError: [Errno 111] refused"),
        ("ValueError: <ann@example.org>\nis odd", "ValueError: …@… is odd"),
    ],
)
def test_the_log_has_the_cause_of_a_failure_and_neither_contents_nor_addresses(
    waiting: int, mailing: Settings, monkeypatch: pytest.MonkeyPatch, error: str, cause: str
) -> None:
    def answer(self: EmailChannel, batch: Any) -> Any:
        for row in batch:
            yield row.delivery_id, retry(error)

    monkeypatch.setattr(EmailChannel, "send", answer)
    with capture_logs() as lines:
        tasks.send_emails()
    assert {line.get("cause") for line in lines if line["event"] == "delivery_retried"} == {cause}


def test_the_waits_grow_as_documented_and_jitter_fully() -> None:
    for attempts, longest in enumerate([30, 60, 120, 240, 480, 960, 1920], start=1):
        waits = [claiming.wait_seconds(attempts) for _ in range(2000)]
        assert 0 <= min(waits) < longest * 0.05
        assert longest * 0.95 < max(waits) <= longest
    assert claiming.MAX_ATTEMPTS == 8


def test_the_rests_grow_as_documented(mailing: Settings, clean: None, rows: Rows) -> None:
    for expected in (5, 10, 20, 40, 80, 160, 300, 300):
        with transaction(mailing) as session:
            claiming.rest(session, "email", "down")
            pause = session.execute(
                text("SELECT extract(epoch FROM paused_until - now()) FROM delivery_channels WHERE channel = 'email'")
            ).scalar()
        assert float(pause or 0) == expected
    with transaction(mailing) as session:
        claiming.works(session, "email")
    assert rows("SELECT failures, paused_until FROM delivery_channels WHERE channel = 'email'")[0] == (0, None)


def test_a_channel_that_was_down_is_probed_by_one(waiting: int, mailing: Settings, channel: EmailChannel) -> None:
    with transaction(mailing) as session:
        claiming.rest(session, "email", "down")
    assert claim(mailing, channel) is None
    with transaction(mailing) as session:
        session.execute(text("UPDATE delivery_channels SET paused_until = now()"))
    probe = claim(mailing, channel)
    assert probe is not None
    assert len(probe.attempts) == 1
    assert claim(mailing, channel) is None


def test_the_sweep_rings_for_what_is_due_and_only_for_channels_that_are_set_up(
    waiting: int, mailing: Settings, configure: Callable[..., Settings], rows: Rows
) -> None:
    def doors(settings: Settings) -> list[str]:
        with transaction(settings) as session:
            return claiming.doors_to_ring(session, settings)

    assert doors(mailing) == [SEND_EMAILS]
    assert doors(mailing.model_copy(update={"smtp_url": None})) == []
    rows("INSERT INTO deliveries (event_id, channel) SELECT id, 'webhook' FROM notification_events")
    both = mailing.model_copy(update={"webhook_url": "https://example.org"})
    assert sorted(doors(both)) == [SEND_EMAILS, SEND_WEBHOOKS]
    rows("UPDATE delivery_channels SET paused_until = now() + interval '1 minute' WHERE channel = 'email'")
    assert doors(both) == [SEND_WEBHOOKS]
    rows("UPDATE delivery_channels SET paused_until = NULL")
    rows("UPDATE deliveries SET next_attempt_at = now() + interval '1 minute'")
    assert doors(both) == []


def test_no_database_session_is_held_while_a_provider_is_waited_for(
    waiting: int, mailing: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    gc.collect()  # what an earlier test has left lying about
    before = engine().pool.checkedout()  # type: ignore[attr-defined]

    class Watching(EmailChannel):
        def send(self, rows: Any) -> Any:
            for row in rows:
                seen.append(engine().pool.checkedout())  # type: ignore[attr-defined]
                yield row.delivery_id, sent()

    turn.take_turn(Watching(mailing))
    assert len(seen) == waiting
    assert set(seen) == {before}


def test_a_fault_of_ours_is_blamed_on_one_and_the_others_are_given_back(
    waiting: int, mailing: Settings, rows: Rows
) -> None:
    class Faulty(EmailChannel):
        def send(self, rows: Any) -> Any:
            yield rows[0].delivery_id, sent()
            raise ZeroDivisionError("oops")

    turn.take_turn(Faulty(mailing))
    counts = dict(rows("SELECT status || attempts, count(*) FROM deliveries GROUP BY 1"))
    assert counts == {"sent1": 1, "pending1": 1, "pending0": waiting - 2}
    assert (
        rows("SELECT error FROM deliveries WHERE attempts = 1 AND status = 'pending'")[0].error
        == "ZeroDivisionError: oops"
    )
    assert rows("SELECT failures FROM delivery_channels WHERE channel = 'email'")[0].failures == 0


def test_what_a_provider_says_is_kept_short_storable_and_harmless_to_a_terminal(
    waiting: int, mailing: Settings, rows: Rows
) -> None:
    class Chatty(EmailChannel):
        def send(self, rows: Any) -> Any:
            yield rows[0].delivery_id, sent("\x1b[2Jid\x9b7")
            raise ChannelDown("no\0\x1b]0;\ud800\u202e " + "x" * 2000)

    turn.take_turn(Chatty(mailing))
    rows_tried = rows("SELECT error, provider_id FROM deliveries WHERE attempts = 1 ORDER BY id")
    assert rows_tried[0].provider_id == "[2Jid 7"
    assert rows_tried[1].error.startswith("no ]0;?  xxx")
    assert len(rows_tried[1].error) == 500
    assert rows("SELECT error FROM delivery_channels WHERE channel = 'email'") == [(rows_tried[1].error,)]


def test_a_channel_that_is_busy_and_rests_keeps_no_other_from_sending(
    waiting: int, mailing: Settings, channel: EmailChannel, rows: Rows
) -> None:
    rows(
        "INSERT INTO deliveries (event_id, channel, status, claimed_at, next_attempt_at)"
        " SELECT id, 'webhook', 'sending', now(), now() + interval '1 minute' FROM notification_events"
    )
    with transaction(mailing) as session:
        claiming.rest(session, "webhook", "down")
    first, second = claim(mailing, channel), claim(mailing, channel)
    assert first is not None
    assert second is not None
    assert len(first.attempts) == 50


def test_a_claim_keeps_its_limit_whatever_plan_the_server_chooses(waiting: int, mailing: Settings) -> None:
    """A nested loop runs a subquery again for each row, and each time it skips what it has locked and takes others."""
    channel = EmailChannel(mailing)
    with transaction(mailing) as session:
        for method in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "bitmapscan"):
            session.execute(text(f"SET LOCAL enable_{method} = off"))
        held = claiming.claim(session, channel)
    assert held is not None
    assert len(held.attempts) == channel.batch_size < waiting
