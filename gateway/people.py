"""Who someone is: read from the database by their external id, at every request and every connection.

Never from a token: a role that was taken away must be gone at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from shared.models import ROLE, USER

PEOPLE = text("""
    SELECT u.id, u.external_id, u.name, u.locale, u.timezone, u.is_active,
           ARRAY(SELECT m.group_name FROM memberships m WHERE m.user_id = u.id) AS groups
    FROM users u
    WHERE u.external_id = ANY (:external_ids)
""").bindparams(bindparam("external_ids", type_=ARRAY(String)))


@dataclass(frozen=True, slots=True)
class Person:
    """Someone the gateway knows. `id` stays inside; the outside says `external_id`."""

    id: int
    external_id: str
    name: str
    locale: str | None
    timezone: str | None
    is_active: bool
    groups: tuple[str, ...]
    """`user_<external id>` first, then the memberships by name."""
    roles: tuple[str, ...]
    """The groups that are roles, without `role_`."""

    def as_dict(self) -> dict[str, Any]:
        """The person as browsers see them."""
        return {"id": self.external_id, "name": self.name, "roles": list(self.roles), "locale": self.locale}


def load_people(session: Session, external_ids: Iterable[str]) -> dict[str, Person]:
    """The known people among `external_ids`, active or not, with their groups: one query."""
    rows = session.execute(PEOPLE, {"external_ids": list(external_ids)})
    return {row.external_id: _person(row) for row in rows}


def _person(row: Any) -> Person:
    memberships = sorted(row.groups)
    return Person(
        id=row.id,
        external_id=row.external_id,
        name=row.name,
        locale=row.locale,
        timezone=row.timezone,
        is_active=row.is_active,
        groups=(USER + row.external_id, *memberships),
        roles=tuple(name.removeprefix(ROLE) for name in memberships if name.startswith(ROLE)),
    )
