"""Who is who: the statements by which people, groups and memberships follow the application's own.

Set-based throughout: any number of people is a handful of statements. `users.changed_xid` tells the
gateways whom to look at again, so that changes reach open connections. Everything is checked before
anything is written; each function returns how many people it changed. The doors (`producer.directory`,
the REST API) open the transaction and ring ANNOUNCE_PEOPLE once it is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, Executable, text
from sqlalchemy.orm import Session

from shared.addresses import looks_like_email
from shared.audience import NAME, NAME_EXPECTED, role_terms
from shared.errors import InvalidInput
from shared.models import EVERYONE, ROLE, USER
from shared.texts import is_storable, refuse_in_line, refuse_in_name

MAX_TEXT = 500  # characters of a person's name, address, …

UPSERT = text("""
    INSERT INTO users (external_id, name, email, phone, locale, timezone, is_active)
    SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:names AS text[]), CAST(:emails AS text[]), CAST(:phones AS text[]),
                         CAST(:locales AS text[]), CAST(:timezones AS text[]), CAST(:actives AS boolean[]))
    ORDER BY 1
    ON CONFLICT (external_id) DO UPDATE SET
        name = excluded.name, email = excluded.email, phone = excluded.phone, locale = excluded.locale,
        timezone = excluded.timezone, is_active = excluded.is_active, changed_xid = pg_current_xact_id()
    WHERE (users.name, users.email, users.phone, users.locale, users.timezone, users.is_active)
       IS DISTINCT FROM
          (excluded.name, excluded.email, excluded.phone, excluded.locale, excluded.timezone, excluded.is_active)
""")
ADD_GROUPS = text("INSERT INTO groups (name) SELECT unnest(CAST(:names AS text[])) ORDER BY 1 ON CONFLICT DO NOTHING")
UNKNOWN_PEOPLE = text("""
    SELECT id FROM unnest(CAST(:ids AS text[])) AS wanted (id)
    WHERE NOT EXISTS (SELECT FROM users WHERE external_id = wanted.id) LIMIT 20
""")
UNKNOWN_GROUPS = text("""
    SELECT name FROM unnest(CAST(:names AS text[])) AS wanted (name)
    WHERE NOT EXISTS (SELECT FROM groups WHERE groups.name = wanted.name) LIMIT 20
""")
# Taken before memberships are compared: of two changes at once, the second sees what the first did. In one
# order, so that they never wait for each other in a circle.
LOCK_PEOPLE = text(
    "SELECT FROM users WHERE external_id = ANY(CAST(:ids AS text[])) ORDER BY external_id FOR NO KEY UPDATE"
)
LOCK_GROUPS = text("SELECT FROM groups WHERE name = ANY(CAST(:groups AS text[])) ORDER BY name FOR NO KEY UPDATE")
# Each of these returns the people whose memberships changed.
ADD = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT DISTINCT pair.name, users.id
    FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS pair (name, external_id) JOIN users USING (external_id)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING RETURNING user_id
""")
REMOVE = text("""
    DELETE FROM memberships USING users, unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS pair (name, external_id)
    WHERE group_name = pair.name AND user_id = users.id AND users.external_id = pair.external_id
    RETURNING user_id
""")
REMOVE_OTHERS = text("""
    DELETE FROM memberships USING users
    WHERE group_name = ANY(CAST(:groups AS text[])) AND user_id = users.id
      AND NOT EXISTS (SELECT FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS kept (name, id)
                      WHERE kept.name = group_name AND kept.id = users.external_id)
    RETURNING user_id
""")
REMOVE_OTHER_ROLES = text("""
    DELETE FROM memberships USING users, unnest(CAST(:people AS text[])) AS chosen (external_id)
    WHERE users.external_id = chosen.external_id AND user_id = users.id AND starts_with(group_name, :role)
      AND NOT EXISTS (SELECT FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS kept (name, id)
                      WHERE kept.name = group_name AND kept.id = users.external_id)
    RETURNING user_id
""")
TOUCH = text("""
    UPDATE users SET changed_xid = pg_current_xact_id()
    FROM (SELECT id FROM users WHERE id = ANY(:ids) ORDER BY external_id FOR NO KEY UPDATE) AS changed
    WHERE users.id = changed.id
""")
SET_ACTIVE = text("""
    UPDATE users SET is_active = :active, changed_xid = pg_current_xact_id()
    WHERE external_id = ANY(CAST(:ids AS text[])) AND is_active <> :active
""")


@dataclass(frozen=True, slots=True)
class Person:
    """A person as the application knows them. `id` is its own: a text or a number."""

    id: str | int
    name: str = ""
    email: str | None = None
    phone: str | None = None
    locale: str | None = None
    timezone: str | None = None
    is_active: bool = True


def upsert_people(session: Session, people: Iterable[Person]) -> int:
    """Add people, or bring those already known up to date: what a person leaves out is emptied."""
    rows = {_checked_person(person): person for person in listed(people, "people")}
    values = {
        "ids": list(rows),
        "names": [person.name for person in rows.values()],
        "emails": [person.email for person in rows.values()],
        "phones": [person.phone for person in rows.values()],
        "locales": [person.locale for person in rows.values()],
        "timezones": [person.timezone for person in rows.values()],
        "actives": [person.is_active for person in rows.values()],
    }
    return _changed(session, UPSERT, values)


def set_active(session: Session, people: Iterable[Any], active: bool) -> int:
    """Let people in, or out: who is out gets nothing more, and their open connections are closed."""
    ids = _ids(people)
    _refuse_unknown_people(session, ids)
    session.execute(LOCK_PEOPLE, {"ids": ids})
    return _changed(session, SET_ACTIVE, {"ids": ids, "active": active})


def add_groups(session: Session, names: Iterable[str]) -> int:
    """Make group names known, so that events can be addressed to them; how many were new."""
    return _changed(session, ADD_GROUPS, {"names": [_checked_group(name) for name in listed(names, "groups")]})


def add_memberships(session: Session, pairs: Iterable[tuple[str, Any]]) -> int:
    """Put people into groups: (group, person) pairs. The groups are made known by that."""
    names, ids = _columns(pairs)
    _refuse_unknown_people(session, ids)
    session.execute(ADD_GROUPS, {"names": sorted(set(names))})
    return _touch(session, session.scalars(ADD, {"names": names, "ids": ids}).all())


def remove_memberships(session: Session, pairs: Iterable[tuple[str, Any]]) -> int:
    """Take people out of groups: (group, person) pairs."""
    names, ids = _columns(pairs)
    _refuse_unknown_groups(session, names)
    _refuse_unknown_people(session, ids)
    return _touch(session, session.scalars(REMOVE, {"names": names, "ids": ids}).all())


def remove_members(session: Session, group: str, people: Iterable[Any]) -> int:
    """Take people out of one group."""
    _refuse_unknown_groups(session, [_checked_group(group)])  # also when there is nobody to take out
    return remove_memberships(session, [(group, person) for person in listed(people, "people")])


def sync_members(session: Session, group: str, people: Iterable[Any]) -> int:
    """Make these people, and no one else, the members of a group."""
    return sync_groups(session, {group: people})


def sync_groups(session: Session, groups: Mapping[str, Iterable[Any]]) -> int:
    """Make these people, and no one else, the members of each group: {group: people}."""
    lists = {_checked_group(group): _ids(people) for group, people in groups.items()}
    pairs = [(group, person) for group, ids in lists.items() for person in ids]
    names, ids = [group for group, _ in pairs], [person for _, person in pairs]
    _refuse_unknown_people(session, ids)
    session.execute(ADD_GROUPS, {"names": sorted(lists)})
    session.execute(LOCK_GROUPS, {"groups": list(lists)})
    gone = session.scalars(REMOVE_OTHERS, {"groups": list(lists), "names": names, "ids": ids}).all()
    new = session.scalars(ADD, {"names": names, "ids": ids}).all()
    return _touch(session, [*gone, *new])


def set_roles(session: Session, roles: Mapping[Any, Iterable[str]]) -> int:
    """Give each person exactly these roles: {person: ["rh"]}. Their other groups stay."""
    if not isinstance(roles, Mapping):
        raise InvalidInput.field("roles", roles, 'roles of people such as {"42": ["rh"]}')
    pairs = [(term.groups[0], person) for person, names in roles.items() for term in role_terms(names, "roles")]
    names, ids = _columns(pairs)
    people = _ids(roles)
    _refuse_unknown_people(session, people)
    session.execute(ADD_GROUPS, {"names": sorted(set(names))})
    session.execute(LOCK_PEOPLE, {"ids": people})
    gone = session.scalars(REMOVE_OTHER_ROLES, {"people": people, "role": ROLE, "names": names, "ids": ids}).all()
    new = session.scalars(ADD, {"names": names, "ids": ids}).all()
    return _touch(session, [*gone, *new])


def person_id(person: Any, field: str = "person") -> str:
    """The application's id of a person (or stage) given as an id (text, number or UUID) or an object with one.

    Raises: InvalidInput for anything else.
    """
    for candidate in (person, getattr(person, "external_id", None), getattr(person, "id", None)):
        if (
            isinstance(candidate, (str, int, UUID))
            and not isinstance(candidate, bool)
            and candidate != ""
            and is_storable(str(candidate))
        ):
            refuse_in_name(field, str(candidate))
            return str(candidate)
    raise InvalidInput.field(field, person, "an id (text, number or UUID) or an object with an id")


def _changed(session: Session, statement: Executable, values: Mapping[str, Any]) -> int:
    return cast(CursorResult[Any], session.execute(statement, values)).rowcount


def _touch(session: Session, user_ids: Sequence[int]) -> int:
    ids = sorted(set(user_ids))
    if ids:
        session.execute(TOUCH, {"ids": ids})
    return len(ids)


def _refuse_unknown_groups(session: Session, names: Sequence[str]) -> None:
    unknown = session.scalars(UNKNOWN_GROUPS, {"names": sorted(set(names))}).all()
    if unknown:
        raise InvalidInput.field("group", unknown[0], "a known group")


def _refuse_unknown_people(session: Session, ids: Sequence[str]) -> None:
    unknown = session.scalars(UNKNOWN_PEOPLE, {"ids": list(ids)}).all()
    if unknown:
        raise InvalidInput(f"people: expected known people, got {', '.join(unknown)}", field="people", unknown=unknown)


def listed(values: Iterable[Any], field: str) -> list[Any]:
    """The values of a list. Raises: InvalidInput for a text or what is no list."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput.field(field, values, "a list")
    return list(values)


def _ids(people: Iterable[Any]) -> list[str]:
    return [person_id(person) for person in listed(people, "people")]


def _columns(pairs: Iterable[tuple[str, Any]]) -> tuple[list[str], list[str]]:
    rows = []
    for pair in listed(pairs, "memberships"):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidInput.field("memberships", pair, '(group, person) such as ("stage_7", "42")')
        rows.append((_checked_group(pair[0]), person_id(pair[1])))
    return [name for name, _ in rows], [external_id for _, external_id in rows]


def _checked_person(person: Person) -> str:
    """The person's id, as a text. Raises: InvalidInput naming what can't be stored."""
    external_id = person_id(person)
    if not NAME.fullmatch(USER + external_id):
        raise InvalidInput.field("id", external_id, NAME_EXPECTED)
    for name in ("name", "email", "phone", "locale", "timezone"):
        value = getattr(person, name)
        may_miss = value is None and name != "name"
        if not may_miss and not (isinstance(value, str) and len(value) <= MAX_TEXT and is_storable(value)):
            raise InvalidInput.field(
                name, value, f"a text of at most {MAX_TEXT} characters, without NUL and lone surrogates"
            )
        refuse_in_line(name, value or "")
    if person.email and not looks_like_email(person.email):
        raise InvalidInput.field("email", person.email, "an address such as ann@example.org, or none")
    if not isinstance(person.is_active, bool):
        raise InvalidInput.field("is_active", person.is_active, "True or False")
    return external_id


def _checked_group(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        if isinstance(name, str):
            refuse_in_name("group", name)
        raise InvalidInput.field("group", name, NAME_EXPECTED)
    if name.startswith(USER) or name == EVERYONE:
        raise InvalidInput.field(
            "group", name, f"a name other than {EVERYONE} and {USER}*, which stand for people themselves"
        )
    return name
