"""Audiences in Python: `role("rh") & group("entreprise_3") | user(42)`.

`&` intersects, `|` unites, `.excluding(…)` leaves people out. The same in strings:
`["role_rh & entreprise_3", "user_42"]`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.audience import NAME_EXPECTED, Term, parse_term
from shared.errors import InvalidAudience, InvalidInput
from shared.models import EVERYONE, ROLE, USER
from shared.texts import is_storable


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


def person_id(person: Any, field: str = "person") -> str:
    """The application's id of a person (or stage) given as an id (text, number or UUID) or an object with one.

    Raises: InvalidInput for anything else.
    """
    for candidate in (person, getattr(person, "external_id", None), getattr(person, "id", None)):
        if isinstance(candidate, (str, int, UUID)) and not isinstance(candidate, bool) and candidate != "" and is_storable(str(candidate)):
            return str(candidate)
    raise InvalidInput.field(field, person, "an id (text, number or UUID) or an object with an id")
