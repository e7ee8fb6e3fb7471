"""A worker that is killed between the provider's yes and its own commit: sent again, under the same id."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import engine, transaction
from shared.processes import signal_group, spawn
from shared.settings import Settings
from tests.company import Company
from tests.http_receiver import Receiver
from tests.mail_server import MailServer
from tests.system import ROOT, wait_until
from tests.workers.delivery.conftest import SECRET, SENDER, Rows, add_addresses, plan, record_critical
from workers import tasks

LEASE_IS_OVER = "UPDATE deliveries SET next_attempt_at = now() WHERE status = 'sending'"
OUTCOME = "SELECT status, attempts, provider_id FROM deliveries"


def be_killed_before_it_commits(
    settings: Settings, log: Path, provider: MailServer | Receiver, task: str, **environment: str
) -> None:
    """A real process takes its turn. Once the provider has the message, the row is locked: the process has heard
    the yes, and can't record it, when it is killed."""
    with Session(engine(settings)) as holder:
        provider.before_answer = lambda: holder.execute(text("SELECT FROM deliveries FOR UPDATE"))
        with log.open("wb") as output:
            command = [sys.executable, "-c", f"from workers import tasks; tasks.{task}()"]
            worker = spawn(command, environment={**os.environ, **environment}, directory=ROOT, output=output)
        wait_until(lambda: waits_for_a_lock(settings), "it has the yes, and would record it", explain=log.read_text)
        signal_group(worker.pid, signal.SIGKILL)
        assert worker.wait(20) == -signal.SIGKILL
        provider.before_answer = int


def waits_for_a_lock(settings: Settings) -> bool:
    with transaction(settings) as session:
        return bool(session.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")))


def test_a_mail_that_was_taken_comes_again_with_its_message_id(
    company: Company, mailing: Settings, mail_server: MailServer, rows: Rows, tmp_path: Path
) -> None:
    company.person("1", "role_rh")
    add_addresses(company, mailing)
    record_critical(mailing, "1")
    plan(mailing)
    address = {"SMTP_URL": mailing.smtp_url or "", "EMAIL_FROM": SENDER}
    be_killed_before_it_commits(mailing, tmp_path / "log", mail_server, "send_emails", **address)
    tasks.send_emails()
    assert [row.status for row in rows(OUTCOME)] == ["sending"]  # until the lease is over, it may be on its way
    assert len(mail_server.mails) == 1
    rows(LEASE_IS_OVER)
    tasks.send_emails()
    tasks.send_emails()
    first, second = mail_server.mails
    assert first["Message-ID"] == second["Message-ID"]
    assert mail_server.recipients == ["1@example.org"] * 2
    assert rows(OUTCOME) == [("sent", 1, "OK: queued as 42")]


def test_a_webhook_that_was_taken_comes_again_with_its_id_and_before_the_next(
    company: Company, configure: Callable[..., Settings], rows: Rows, tmp_path: Path
) -> None:
    company.person("1", "role_rh")
    with Receiver() as receiver:
        environment = {"WEBHOOK_URL": f"http://127.0.0.1:{receiver.port}/", "WEBHOOK_SECRET": SECRET}
        settings = configure(**{name.lower(): value for name, value in environment.items()}, webhook_allow_private=True)
        first, second = (record_critical(settings, "1") for _ in range(2))
        environment["WEBHOOK_ALLOW_PRIVATE"] = "true"
        be_killed_before_it_commits(settings, tmp_path / "log", receiver, "send_webhooks", **environment)
        tasks.send_webhooks()
        assert receiver.event_ids == [first]
        rows(LEASE_IS_OVER)
        tasks.send_webhooks()
    assert receiver.event_ids == [first, first, second]
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == [f"msg_{n}" for n in (first, first, second)]
    assert rows(OUTCOME) == [("sent", 1, None)] * 2
