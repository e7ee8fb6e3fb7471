"""Channel `webhook`: every processed event to WEBHOOK_URL, signed the Standard Webhooks way, in order.

https://www.standardwebhooks.com: the headers webhook-id (the same at every try), webhook-timestamp and
webhook-signature. An event that can't be delivered holds back those after it until its last try; a receiver
that says 410 (Gone) gets no second one, and who sends Retry-After is left alone for so long. The body holds
the event and how many people it reached, never who they are.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from shared.models import USER
from shared.settings import Settings
from shared.tasks import SEND_WEBHOOKS
from workers.delivery import checked_http
from workers.delivery.channel import GONE, PRIVATE_ADDRESS, Outcome, failed, retry, sent
from workers.delivery.retry_after import retry_after_seconds

EVENT_PROCESSED = "notification_event.processed"

LOAD = text("""
    SELECT delivery.id AS delivery_id, event.* FROM deliveries delivery
    JOIN notification_events event ON event.id = delivery.event_id
    WHERE delivery.id = ANY(:ids) ORDER BY event.id
""")


class WebhookChannel:
    """See `channel.Channel`. One sender, one event at a time: that is what keeps the order."""

    name = "webhook"
    door = SEND_WEBHOOKS
    senders = 1
    batch_size = 1
    ordered = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._webhook = Webhook(settings.webhook_secret or "")

    def load(self, session: Session, delivery_ids: Sequence[int]) -> list[Any]:
        return list(session.execute(LOAD, {"ids": list(delivery_ids)}))

    def send(self, rows: Sequence[Any]) -> Generator[tuple[int, Outcome], None, None]:
        for row in rows:
            yield row.delivery_id, self._send(row)

    def _send(self, event: Any) -> Outcome:
        body = json.dumps(payload(event), ensure_ascii=False)
        try:
            answer = checked_http.post(
                self._settings.webhook_url or "",
                body.encode(),
                self._headers(event.id, body),
                allow_private=self._settings.webhook_allow_private,
            )
        except checked_http.PrivateAddress as error:
            return failed(PRIVATE_ADDRESS, str(error))
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            return retry(f"{type(error).__name__}: {error}")
        said = f"{answer.status} {answer.said}".strip()
        if 200 <= answer.status < 300:
            return sent()
        if answer.status == HTTPStatus.GONE:
            return failed(GONE, said)
        asks_to_wait = answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        return retry(said, retry_after_seconds(answer.retry_after, datetime.now(UTC)) if asks_to_wait else 0)

    def _headers(self, event_id: int, body: str) -> dict[str, str]:
        name, now = f"msg_{event_id}", datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "StageBloom",
            "webhook-id": name,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(name, now, body),
        }


def payload(event: Any) -> Mapping[str, Any]:
    """What the receiver gets. Terms that name one person say only that they do."""
    return {
        "type": EVENT_PROCESSED,
        "timestamp": _utc(event.processed_at or event.created_at),
        "data": {
            "id": event.id,
            "event_type": event.event_type,
            "category": event.category,
            "notification_type": event.notification_type,
            "priority": event.priority,
            "texts": event.texts,
            "format": event.format,
            "data": event.data,
            "link": event.link,
            "image": event.image,
            "actions": event.actions,
            "thread_key": event.thread_key,
            "audience": [[f"{USER}*" if name.startswith(USER) else name for name in term] for term in event.audience],
            "created_at": _utc(event.created_at),
            "recipients": {"count": event.recipient_count},
        },
    }


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
