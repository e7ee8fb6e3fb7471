"""People who changed while they are connected: new groups reach them and the counts, the deactivated leave.

`users.changed_xid` is the transaction of the last change of a person or their memberships. The tail reads
from its horizon on, so no change is skipped; what was told once is remembered until the horizon has
passed it, so it isn't told every 5 s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.live import codes
from gateway.live.hub import Hub
from gateway.live.presence import Presence
from gateway.people import load_people

PER_PAGE = 5000
LOADED_AT_ONCE = 500

CHANGED = text("""
    SELECT id, external_id, changed_xid::text AS xid FROM users
    WHERE changed_xid >= CAST(:horizon AS xid8) AND id > :after
    ORDER BY id LIMIT :limit
""")


class ChangedPeople:
    """Tells present people what changed about them. Read by the tail, in its snapshot."""

    def __init__(self, hub: Hub, presence: Presence, tell: Callable[[int, dict[str, Any]], None]) -> None:
        self._hub = hub
        self._presence = presence
        self._tell = tell
        self._horizon = 0
        self._told: dict[int, int] = {}  # user id → transaction of the change

    def begin(self, horizon: int) -> None:
        self._horizon = horizon

    def is_known(self, user_id: int, changed_xid: int) -> None:
        """This person comes in, and will be loaded as of this change or later."""
        if changed_xid >= self._horizon:
            self._told[user_id] = changed_xid

    def read(self, session: Session) -> None:
        """Find the changed among those present, and tell them or close them."""
        after = -1
        while True:
            values = {"horizon": str(self._horizon), "after": after, "limit": PER_PAGE}
            rows = session.execute(CHANGED, values).all()
            names = []
            for user_id, external_id, xid in rows:
                if user_id in self._hub and self._told.get(user_id) != int(xid):
                    self._told[user_id] = int(xid)
                    names.append(external_id)
            for start in range(0, len(names), LOADED_AT_ONCE):
                self._announce(session, names[start : start + LOADED_AT_ONCE])
            if len(rows) < PER_PAGE:
                return
            after = rows[-1].id

    def forget_before(self, horizon: int) -> None:
        """Changes below the new horizon are never read again."""
        self._horizon = horizon
        self._told = {user_id: xid for user_id, xid in self._told.items() if xid >= horizon}

    def _announce(self, session: Session, external_ids: list[str]) -> None:
        for person in load_people(session, external_ids).values():
            if person.is_active:
                self._tell(person.id, {"groups": person.groups, "user": person.as_dict()})
                self._presence.have_roles(self._hub.of(person.id), person.roles)
            else:
                for connection in self._hub.of(person.id):
                    connection.close(codes.DEACTIVATED, "this person is deactivated")
