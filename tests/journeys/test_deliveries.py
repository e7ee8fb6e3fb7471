"""Critical news with a real worker: mailed to whom no socket reached, and to nobody else; refused or killed, it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.delivery_counts import delivery_counts
from shared.doorbell import ring
from shared.events import EventDraft, record_event
from shared.processes import signal_group, spawn
from shared.settings import Settings
from shared.tasks import PROCESS_EVENT, SEND_EMAILS
from tests.company import Company
from tests.gateway.live.gateway_process import GatewayProcess
from tests.http_receiver import Receiver
from tests.mail_server import MailServer
from tests.system import ROOT, wait_until

PEOPLE = 60
SECRET = "whsec_" + "QUJD" * 10


class Workers:
    """One process for all queues, set up to mail and to call the webhook."""

    def __init__(self, log: Path, **settings: str) -> None:
        self._log, self._settings = log, settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "celery", "--quiet", "--app", "workers.app", "worker", "--queues", "events,bulk,upkeep,deliveries",
                   "--concurrency", "3", "--without-gossip", "--without-mingle", "--without-heartbeat", "--hostname", "all@%h"]  # fmt: skip
        with self._log.open("ab") as log:
            self._process = spawn(command, environment={**os.environ, **self._settings}, directory=ROOT, output=log)

    def kill(self) -> None:
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-5000:]


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


@pytest.fixture
def workers(company: Company, mail_server: MailServer, receiver: Receiver, tmp_path: Path) -> Iterator[Workers]:
    found = Workers(
        tmp_path / "workers.log", SMTP_URL=f"smtp://127.0.0.1:{mail_server.port}", EMAIL_FROM="StageBloom <avis@stagebloom.example>", EMAIL_FALLBACK_AFTER_SECONDS="1",
        WEBHOOK_URL=f"http://127.0.0.1:{receiver.port}/", WEBHOOK_SECRET=SECRET, WEBHOOK_ALLOW_PRIVATE="true",
    )  # fmt: skip
    found.start()
    yield found
    found.kill()


def change(settings: Settings, statement: str) -> list[object]:
    with transaction(settings) as session:
        found = session.execute(text(statement))
        return list(found.scalars()) if found.returns_rows else []


def test_critical_news_reach_whom_the_socket_did_not_and_the_webhook_gets_everything(
    company: Company, settings: Settings, workers: Workers, mail_server: MailServer, receiver: Receiver
) -> None:
    company.people(["1", "2", "3"], "role_rh")
    change(
        settings,
        "UPDATE users SET email = external_id || '@example.org', locale = CASE external_id WHEN '2' THEN 'en' ELSE 'fr' END",
    )
    texts = {"fr": {"title": "Évacuation", "message": "Sortez"}, "en": {"title": "Evacuation", "message": "Get out"}}
    mail_server.answers["1@example.org"] = ["450 come again later"]
    with GatewayProcess(settings) as gateway, gateway.connect(company.token("3")) as browser:
        with transaction(settings) as session:
            critical = record_event(
                session, EventDraft(audience=["role_rh"], texts=texts, priority="critical"), settings
            ).id
            normal = record_event(session, EventDraft(audience=["role_rh"], texts=texts), settings).id
        ring(PROCESS_EVENT)
        browser.wait_for("role_notification", lambda frame: frame["notification"]["id"] == critical)
        browser.settle()
        confirmed = (
            "SELECT external_id FROM notifications JOIN users ON users.id = recipient_id WHERE delivered_at IS NOT NULL"
        )
        wait_until(
            lambda: change(settings, confirmed) == ["3"], "one has confirmed it over a socket", explain=gateway.log
        )
    wait_until(lambda: company.count("notifications") == 6, "both are stored", explain=workers.log)
    wait_until(
        lambda: change(settings, "SELECT 1 FROM delivery_plans WHERE due_at <= now()"),
        "the time to confirm is over",
        explain=workers.log,
    )
    ring(SEND_EMAILS)
    waiting = "SELECT 1 FROM deliveries WHERE channel = 'email' AND status = 'pending' AND attempts = 1"
    wait_until(lambda: change(settings, waiting), "one is refused for now", explain=workers.log)
    wait_until(lambda: mail_server.recipients == ["2@example.org"], "the other is not", explain=workers.log)
    change(settings, "UPDATE deliveries SET next_attempt_at = now() WHERE status = 'pending'")
    ring(SEND_EMAILS)
    wait_until(lambda: len(mail_server.mails) == 2, "two mails arrive", explain=workers.log)
    assert {recipient: str(mails[0]["Subject"]) for recipient, mails in mail_server.mails_by_recipient.items()} == {
        "1@example.org": "Évacuation",
        "2@example.org": "Evacuation",
    }
    wait_until(lambda: receiver.event_ids == [critical, normal], "the webhook has both, in order", explain=workers.log)

    def ended() -> dict[str, tuple[int, int]]:
        with transaction(settings) as session:
            found = delivery_counts(session, datetime.now(UTC).date() - timedelta(days=1), 10)
        return {channel: (held["sent"], held["pending"]) for channel, held in found.items()}

    wait_until(lambda: ended() == {"email": (2, 0), "webhook": (2, 0)}, "they are counted", explain=workers.log)


def test_a_worker_killed_while_it_mails_leaves_nobody_out_and_sends_twice_only_what_was_taken_unseen(
    company: Company, settings: Settings, workers: Workers, mail_server: MailServer
) -> None:
    company.people([str(n) for n in range(PEOPLE)], "role_rh")
    change(settings, "UPDATE users SET email = external_id || '@example.org'")
    mail_server.pause_seconds = 0.05
    with transaction(settings) as session:
        record_event(session, EventDraft(audience=["role_rh"], title="T", message="M", priority="critical"), settings)
    ring(PROCESS_EVENT)
    wait_until(
        lambda: change(settings, "SELECT 1 FROM delivery_plans WHERE due_at <= now()"),
        "the time to confirm is over",
        explain=workers.log,
    )
    kills = 0
    while kills < 3:
        ring(SEND_EMAILS)
        before = len(mail_server.mails)
        wait_until(
            lambda before=before: len(mail_server.mails) >= before + 5, "some mails are sent", explain=workers.log
        )  # type: ignore[misc]
        workers.kill()
        kills += 1
        change(settings, "UPDATE deliveries SET next_attempt_at = now() WHERE status = 'sending'")  # the lease is over
        workers.start()
    ring(SEND_EMAILS)
    wait_until(
        lambda: not change(settings, "SELECT 1 FROM deliveries WHERE status <> 'sent'"), "all are sent", 40, workers.log
    )
    assert change(settings, "SELECT deliveries FROM daily_deliveries WHERE (channel, status) = ('email', 'sent')") == [
        PEOPLE
    ]

    counts = Counter(mail_server.recipients)
    assert set(counts) == {f"{n}@example.org" for n in range(PEOPLE)}
    twice = [recipient for recipient, count in counts.items() if count > 1]
    assert len(twice) <= 2 * kills  # at most one for each worker that was sending
    for recipient in twice:
        assert len({mail["Message-ID"] for mail in mail_server.mails_by_recipient[recipient]}) == 1


def test_a_dead_mail_server_delays_neither_webhook_nor_notifications(
    company: Company, settings: Settings, workers: Workers, mail_server: MailServer, receiver: Receiver
) -> None:
    company.people(["1", "2"], "role_rh")
    change(settings, "UPDATE users SET email = external_id || '@example.org'")
    mail_server.pause_seconds = 60  # it takes the connection and says nothing
    with transaction(settings) as session:
        record_event(session, EventDraft(audience=["role_rh"], title="T", message="M", priority="critical"), settings)
    ring(PROCESS_EVENT)
    wait_until(
        lambda: change(settings, "SELECT 1 FROM delivery_plans WHERE due_at <= now()"),
        "the time to confirm is over",
        explain=workers.log,
    )
    ring(SEND_EMAILS)
    wait_until(
        lambda: change(settings, "SELECT 1 FROM deliveries WHERE channel = 'email' AND status = 'sending'"),
        "a worker hangs",
        explain=workers.log,
    )
    with transaction(settings) as session:
        event_id = record_event(session, EventDraft(audience=["role_rh"], title="T", message="M"), settings).id
    ring(PROCESS_EVENT)
    wait_until(lambda: event_id in receiver.event_ids, "the webhook has it meanwhile", 8, workers.log)
    assert change(settings, "SELECT 1 FROM deliveries WHERE channel = 'email' AND status = 'sending'")
