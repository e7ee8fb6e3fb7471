"""Audiences in Python: `role("rh") & group("entreprise_3") | user(42)`.

`&` intersects, `|` unites, `.excluding(…)` leaves people out. The same in strings:
`["role_rh & entreprise_3", "user_42"]`.
"""

from __future__ import annotations

from typing import Any

from shared.audience import NAME_EXPECTED, Term, parse_term
from shared.directory import person_id
from shared.errors import InvalidAudience
from shared.models import EVERYONE, ROLE, USER

__all__ = ["everyone", "group", "person_id", "role", "user"]


def role(name: str) -> Term:
    """Everyone who has this role."""
    return group(ROLE + name)


def group(name: str) -> Term:
    """Everyone in a group, such as "stage_123". Raises: InvalidAudience for a name that can't be one."""
    term = parse_term(name)
    if len(term.groups) != 1:
        raise InvalidAudience.field("group", name, NAME_EXPECTED)
    return term


def user(person: Any) -> Term:
    """One person, by the application's own id or by an object that has an `id`."""
    return group(USER + person_id(person))


def everyone() -> Term:
    """Every active person."""
    return Term((EVERYONE,))
