"""Deliveries to be sent, made as the workers make them, and a look at what became of them.

This file is read before the servers are started, so `workers` is imported where it is used.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.settings import Settings
from tests.company import Company
from tests.mail_server import MailServer

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
SENDER = "StageBloom à l'heure <avis@stagebloom.example>"
NO_WAIT = text("UPDATE deliveries SET next_attempt_at = now() WHERE status = 'pending'")
NO_REST = text("UPDATE delivery_channels SET paused_until = NULL")

Rows = Callable[..., list[Any]]


@pytest.fixture
def rows(settings: Settings) -> Rows:
    """What a statement returns, as named tuples; what it changes is committed."""

    def ask(statement: str, **values: Any) -> list[Any]:
        with transaction(settings) as session:
            found = session.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    return ask


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as found:
        yield found


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Callable[..., Settings]:
    """Settings with these changes, for everything in this process."""

    def change(**changes: Any) -> Settings:
        changed = settings.model_copy(update=changes)
        for place in ("workers.tasks", "workers.storing"):
            monkeypatch.setattr(f"{place}.get_settings", lambda: changed)
        return changed

    return change


@pytest.fixture
def mailing(configure: Callable[..., Settings], mail_server: MailServer) -> Settings:
    """Settings that mail at once through the server of the test."""
    return configure(smtp_url=f"smtp://127.0.0.1:{mail_server.port}", email_from=SENDER)


def record_critical(settings: Settings, *people: str, **draft: Any) -> int:
    """A critical event, processed by a worker of this process; its id."""
    from workers import tasks

    with transaction(settings) as session:
        words = {} if "texts" in draft else {"title": "Évacuation", "message": "Sortez"}
        values = {"audience": [f"user_{person}" for person in people], "priority": "critical", **words, **draft}
        event = record_event(session, EventDraft(**values), settings)
    tasks.process_event()
    return event.id


def let_time_pass(settings: Settings) -> None:
    """The time to confirm is over, and so are all pauses."""
    with transaction(settings) as session:
        session.execute(text("UPDATE delivery_plans SET due_at = now()"))
        session.execute(NO_WAIT)
        session.execute(NO_REST)


def plan(settings: Settings) -> tuple[int, int, int]:
    from workers.delivery.planning import plan_emails

    let_time_pass(settings)
    with transaction(settings) as session:
        return plan_emails(session)


def send(settings: Settings) -> None:
    """Whatever waits is sent now."""
    from workers import tasks

    let_time_pass(settings)
    tasks.send_emails()


def add_addresses(company: Company, settings: Settings) -> None:
    """Everyone has the address ID@example.org."""
    with transaction(settings) as session:
        session.execute(text("UPDATE users SET email = external_id || '@example.org'"))
