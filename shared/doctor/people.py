"""Who can be reached: roles that match nobody, people whom no role event reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.doctor import Finding, fine, looking, note, wrong
from shared.models import ROLE
from shared.settings import Settings
from shared.texts import fold

SHOWN = 10
ROLES = text("""
    SELECT name, EXISTS (SELECT FROM memberships JOIN users ON users.id = user_id AND is_active WHERE group_name = groups.name)
    FROM groups WHERE starts_with(name, :role) ORDER BY name
""")
WITHOUT = text("""
    SELECT external_id FROM users WHERE is_active
    AND NOT EXISTS (SELECT FROM memberships WHERE user_id = users.id AND starts_with(group_name, :role)) ORDER BY id LIMIT 1001
""")
PEOPLE = text("SELECT count(*) FROM (SELECT FROM users WHERE is_active LIMIT 1000001) AS found")


def check_people(settings: Settings) -> Iterator[Finding]:
    """Roles and people."""
    return looking(settings, lambda session: _look(session, settings))


def _look(session: Session, settings: Settings) -> Iterator[Finding]:
    roles = {name.removeprefix(ROLE): is_held for name, is_held in session.execute(ROLES, {"role": ROLE})}
    people = session.scalar(PEOPLE) or 0
    empty = [name for name, is_held in roles.items() if not is_held]
    unknown = sorted({*settings.send_roles, *settings.broadcast_roles} - roles.keys())
    if not people:
        yield note(
            "roles",
            "there are no people yet",
            "Record them with Directory.upsert_people(), or try `stagebloom seed --demo`.",
        )
        return
    if empty:
        yield note(
            "roles",
            f"match nobody: {_some(empty)}",
            "Names are case-sensitive: compare them with Directory.set_roles().",
            roles=empty,
        )
    if unknown:
        yield note(
            "roles",
            f"SEND_ROLES or BROADCAST_ROLES name roles that nobody has recorded: {_some(unknown)}",
            "Correct the setting, or record the role.",
            roles=unknown,
        )
    alike = _alike(roles)
    for names in alike:
        yield note(
            "roles",
            f"differ only in letter case or accents: {' and '.join(names)}",
            "What is sent to one does not reach the people of the other: give all of them one with Directory.set_roles().",
            roles=names,
        )
    if not empty and not unknown and not alike:
        yield fine("roles", f"every role is held: {_some(list(roles))}", roles=list(roles))
    without = list(session.scalars(WITHOUT, {"role": ROLE}))
    if len(without) == people:
        yield wrong(
            "people",
            f"none of {people} has a role: events for roles reach nobody",
            "Give roles with Directory.set_roles().",
            count=people,
        )
    elif without:
        count = "over 1,000" if len(without) > 1000 else str(len(without))
        yield note(
            "people",
            f"{count} active people have no role: {_some(without)}",
            "Give roles with Directory.set_roles(), or deactivate who has left.",
            people=without[:SHOWN],
            count=len(without),
        )
    else:
        yield fine("people", f"{people:,} active people, each with a role", count=people)


def _alike(names: Iterable[str]) -> list[list[str]]:
    """Names that a person would take for the same, together."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(fold(name), []).append(name)
    return [sorted(same) for same in found.values() if len(same) > 1]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
