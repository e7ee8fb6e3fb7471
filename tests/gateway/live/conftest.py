"""What tests of live connections share: a gateway process, and a hand that stores and publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.frames import notification_frame, notification_json
from shared.installation import installation_id
from shared.redis import connect
from shared.settings import Settings
from shared.topics import BatchMessage, LiveMessage, live_topic
from tests.gateway.live.gateway_process import GatewayProcess

STORE = text("""
    INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids, stored_xid, stored_at)
    VALUES (:event_id, :n, :kind, :locale, :recipient_ids, pg_current_xact_id(), clock_timestamp())
""")
NOTIFY = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid)
    SELECT unnest(CAST(:recipient_ids AS bigint[])), :event_id, pg_current_xact_id()
""")


class Worker:
    """Does by hand what workers do, so that a test can leave out a step or do it twice."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.redis = connect(settings)
        with transaction(settings) as session:
            self.topic = live_topic(installation_id(session))

    def store(
        self, recipient_ids: list[int], *, kind: str = "notification", session: Session | None = None, **draft: Any
    ) -> BatchMessage:
        """An event with one stored batch, committed unless a session is given; what to publish."""
        if session is None:
            with transaction(self.settings) as own:
                return self.store(recipient_ids, kind=kind, session=own, **draft)
        words = {"title": "Title", "message": "Message", **draft}
        event = record_event(session, EventDraft(audience=["everyone"], **words), self.settings)
        values = {"event_id": event.id, "recipient_ids": recipient_ids}
        session.execute(STORE, {**values, "n": 0, "kind": kind, "locale": "fr"})
        session.execute(NOTIFY, values)
        session.execute(text("UPDATE notification_events SET status = 'processed' WHERE id = :event_id"), values)
        payload = notification_frame(kind, notification_json(event, "fr"))
        return BatchMessage(event.id, 0, recipient_ids, payload)

    def publish(self, message: LiveMessage) -> None:
        self.redis.publish(self.topic, message.encode())

    def send(self, recipient_ids: list[int], **draft: Any) -> int:
        """Store and publish; the event's id."""
        message = self.store(recipient_ids, **draft)
        self.publish(message)
        return message.event_id


@pytest.fixture
def worker(settings: Settings, clean: None) -> Worker:
    return Worker(settings)


@pytest.fixture(scope="module")
def shared_gateway(settings: Settings) -> Iterator[GatewayProcess]:
    """A gateway with the limits as shipped, for the tests of a file."""
    with GatewayProcess(settings) as process:
        yield process


@pytest.fixture
def gateway(shared_gateway: GatewayProcess, clean: None) -> GatewayProcess:
    return shared_gateway


@pytest.fixture
def start_gateway(settings: Settings, clean: None) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts gateways of one's own: `start_gateway(limits={"tail_seconds": 0.2})`."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(GatewayProcess(settings, **options))
