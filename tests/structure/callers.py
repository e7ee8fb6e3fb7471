"""Who may ask: the columns of every table of permissions, and how each proves who they are."""

from __future__ import annotations

from tests.company import Company

PEOPLE = ("stagiaire", "tuteur", "rh", "admin")  # one of each role, named by it
CALLERS = ("nobody", *PEOPLE, "service", "deactivated")


def hire(company: Company) -> dict[str, str | None]:
    """Make all of them known; by caller, what each sends as bearer token: a key, a token or nothing."""
    for role in PEOPLE:
        company.person(role, f"role_{role}")
    company.person("deactivated", "role_admin", is_active=False)
    _, _, key = company.service("matrix")["Authorization"].partition(" ")
    return {"nobody": None, "service": key} | {name: company.token(name) for name in (*PEOPLE, "deactivated")}
