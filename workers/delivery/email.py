"""Channel `email`: critical notifications that a person has not confirmed, through SMTP_URL.

Many mails ride on one SMTP session. Whoever confirmed meanwhile, also between two tries, gets none.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from email.utils import parseaddr
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.addresses import EmailAddress, parse_email_address, parse_smtp_url
from shared.settings import Settings
from shared.tasks import SEND_EMAILS
from workers.delivery.channel import (
    BAD_ADDRESS,
    CONFIRMED,
    DELETED,
    INACTIVE,
    NEEDS_SMTPUTF8,
    NO_ADDRESS,
    Outcome,
    skipped,
)
from workers.delivery.mail import compose
from workers.delivery.smtp import SmtpSession

LOAD = text("""
    SELECT delivery.id AS delivery_id, delivery.event_id, users.name, users.email, users.locale, users.is_active,
           event.texts, event.format, event.link,
           (n.event_id IS NULL OR n.deleted_at IS NOT NULL OR n.archived_at IS NOT NULL) AS is_deleted,
           coalesce(n.delivered_at, n.seen_at, n.read_at) IS NOT NULL AS is_confirmed
    FROM deliveries delivery
    JOIN notification_events event ON event.id = delivery.event_id
    JOIN users ON users.id = delivery.recipient_id
    LEFT JOIN notifications n ON n.recipient_id = delivery.recipient_id AND n.event_id = delivery.event_id
    WHERE delivery.id = ANY(:ids)
    ORDER BY delivery.id
""")


class EmailChannel:
    """See `channel.Channel`."""

    name = "email"
    door = SEND_EMAILS
    senders = 2
    batch_size = 50
    ordered = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = parse_smtp_url(settings.smtp_url or "")
        self._sender = parseaddr(settings.email_from or "")[1]

    def load(self, session: Session, delivery_ids: Sequence[int]) -> list[Any]:
        return list(session.execute(LOAD, {"ids": list(delivery_ids)}))

    def send(self, rows: Sequence[Any]) -> Generator[tuple[int, Outcome], None, None]:
        wanted: list[tuple[Any, EmailAddress]] = []
        for row in rows:
            reason, address = why_not(row), parse_email_address(row.email or "")
            if reason is not None:
                yield row.delivery_id, skipped(reason)
            elif address is None:
                yield row.delivery_id, skipped(BAD_ADDRESS)
            else:
                wanted.append((row, address))
        if not wanted:
            return
        with SmtpSession(self._address) as session:
            for row, address in wanted:
                if address.needs_smtputf8 and not session.offers_smtputf8:
                    yield row.delivery_id, skipped(NEEDS_SMTPUTF8)
                else:
                    mail = compose(row, address, self._settings)
                    yield row.delivery_id, session.send(self._sender, address, mail.as_bytes())


def why_not(row: Any) -> str | None:
    """Why this person gets no mail, whatever their address; None when they do."""
    if row.is_deleted:
        return DELETED
    if row.is_confirmed:
        return CONFIRMED
    if not row.is_active:
        return INACTIVE
    return None if (row.email or "").strip() else NO_ADDRESS
