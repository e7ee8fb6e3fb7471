"""Made-up people for tests, put in with SQL: a hundred take two milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import text

from shared.database import transaction
from shared.events import EventDraft, record_event
from shared.services import PERMISSIONS, add_service
from shared.settings import Settings
from shared.tokens import issue_token

ADD_GROUP = text("INSERT INTO groups (name) SELECT unnest(CAST(:names AS text[])) ON CONFLICT DO NOTHING")
ADD_PEOPLE = text("""
    INSERT INTO users (external_id, name, locale, is_active)
    SELECT id, 'Person ' || id, :locale, :is_active FROM unnest(CAST(:ids AS text[])) WITH ORDINALITY AS given (id, n)
    ORDER BY n
    RETURNING id
""")
ADD_MEMBERS = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT name, id FROM unnest(CAST(:names AS text[])) AS name, unnest(CAST(:ids AS bigint[])) AS id
""")
STORE = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid)
    SELECT id, :event_id, pg_current_xact_id() FROM users WHERE external_id = ANY(CAST(:ids AS text[]))
""")


class Company:
    """Everything it makes is committed when the call returns."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def person(self, external_id: str, *groups: str, locale: str | None = None, is_active: bool = True) -> int:
        """One person, in these groups (`role_rh`, `stage_3`); their `users.id`."""
        return self.people([external_id], *groups, locale=locale, is_active=is_active)[0]

    def people(
        self, external_ids: Iterable[str], *groups: str, locale: str | None = None, is_active: bool = True
    ) -> list[int]:
        """Many people, all in the same groups; their `users.id`, in order."""
        with transaction(self.settings) as session:
            session.execute(ADD_GROUP, {"names": sorted(groups)})
            ids = session.scalars(
                ADD_PEOPLE, {"ids": list(external_ids), "locale": locale, "is_active": is_active}
            ).all()
            session.execute(ADD_MEMBERS, {"names": sorted(groups), "ids": ids})
            return list(ids)

    def groups(self, *names: str) -> None:
        """Groups without members."""
        with transaction(self.settings) as session:
            session.execute(ADD_GROUP, {"names": sorted(names)})

    def notify(self, *external_ids: str, title: str = "Title", message: str = "Message", **draft: Any) -> int:
        """Record an event for these people and store their notifications, as the workers would; its id."""
        audience = [f"user_{external_id}" for external_id in external_ids]
        with transaction(self.settings) as session:
            event = record_event(
                session, EventDraft(audience=audience, title=title, message=message, **draft), self.settings
            )
            session.execute(STORE, {"event_id": event.id, "ids": list(external_ids)})
            session.execute(
                text("UPDATE notification_events SET status = 'processed' WHERE id = :id"), {"id": event.id}
            )
            return event.id

    def token(self, external_id: str, lifetime_seconds: int | None = None) -> str:
        """A bearer token."""
        return issue_token(self.settings, external_id, lifetime_seconds)

    def bearer(self, external_id: str) -> dict[str, str]:
        """The headers of a request by this person."""
        return {"Authorization": f"Bearer {self.token(external_id)}"}

    def service(self, name: str, *permissions: str) -> dict[str, str]:
        """A service's headers; with every permission unless some are named."""
        with transaction(self.settings) as session:
            return {"Authorization": f"Bearer {add_service(session, name, permissions or PERMISSIONS)}"}

    def count(self, table: str) -> int:
        """How many rows a table has: 0 is what a refused request leaves."""
        with transaction(self.settings) as session:
            return int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
