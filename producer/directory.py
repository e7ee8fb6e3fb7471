"""Who is who: people, groups and memberships, kept in step with the application's own.

Set-based throughout: any number of people is a handful of statements. Changes reach open connections
without a reconnect (`users.changed_xid` tells the gateways whom to look at again). Changes are made in
the caller's transaction when a session is given, otherwise each call is one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, scoped_session

from producer.audience import person_id
from producer.outbox import own_session, ring_after_commit
from shared.audience import NAME, NAME_EXPECTED, role_terms
from shared.database import transaction
from shared.doorbell import ring
from shared.errors import InvalidInput
from shared.models import EVERYONE, ROLE, USER
from shared.settings import Settings, get_settings
from shared.tasks import ANNOUNCE_PEOPLE
from shared.texts import is_storable

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
LOCK_PEOPLE = text("SELECT FROM users WHERE external_id = ANY(CAST(:ids AS text[])) ORDER BY external_id FOR NO KEY UPDATE")
LOCK_GROUP = text("SELECT FROM groups WHERE name = :name FOR NO KEY UPDATE")
# Each of these returns the people whose memberships changed.
ADD = text("""
    INSERT INTO memberships (group_name, user_id)
    SELECT DISTINCT pair.name, users.id
    FROM unnest(CAST(:names AS text[]), CAST(:ids AS text[])) AS pair (name, external_id) JOIN users USING (external_id)
    ORDER BY 1, 2
    ON CONFLICT DO NOTHING RETURNING user_id
""")
REMOVE = text("""
    DELETE FROM memberships USING users
    WHERE group_name = :name AND user_id = users.id AND external_id = ANY(CAST(:ids AS text[]))
    RETURNING user_id
""")
REMOVE_OTHERS = text("""
    DELETE FROM memberships USING users
    WHERE group_name = :name AND user_id = users.id AND external_id <> ALL(CAST(:ids AS text[]))
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


class Directory:
    """Records people, groups and memberships. Unknown people or groups are refused, never made up."""

    def __init__(self, session: Session | scoped_session[Session] | None = None, settings: Settings | None = None) -> None:
        self._session = session
        self._settings = settings or get_settings()

    def upsert_people(self, people: Iterable[Person]) -> None:
        """Add people, or bring those already known up to date."""
        rows = {_checked_person(person): person for person in _listed(people, "people")}
        values = {
            "ids": list(rows),
            "names": [person.name for person in rows.values()],
            "emails": [person.email for person in rows.values()],
            "phones": [person.phone for person in rows.values()],
            "locales": [person.locale for person in rows.values()],
            "timezones": [person.timezone for person in rows.values()],
            "actives": [person.is_active for person in rows.values()],
        }
        self._change(lambda session: session.execute(UPSERT, values))

    def deactivate(self, people: Iterable[Any]) -> None:
        """These people get nothing more, and their open connections are closed."""
        self._set_active(people, False)

    def activate(self, people: Iterable[Any]) -> None:
        """The way back from `deactivate`."""
        self._set_active(people, True)

    def _set_active(self, people: Iterable[Any], active: bool) -> None:
        ids = _ids(people)

        def change(session: Session) -> None:
            _refuse_unknown_people(session, ids)
            session.execute(LOCK_PEOPLE, {"ids": ids})
            session.execute(SET_ACTIVE, {"ids": ids, "active": active})

        self._change(change)

    def add_groups(self, names: Iterable[str]) -> None:
        """Make group names known, so that events can be addressed to them; an empty group is fine."""
        wanted = [_checked_group(name) for name in _listed(names, "groups")]
        self._change(lambda session: session.execute(ADD_GROUPS, {"names": wanted}))

    def add_members(self, group: str, people: Iterable[Any]) -> None:
        """Put people into a group, next to those who are in it. The group is made known by that."""
        self.add_memberships([(group, person) for person in _listed(people, "people")])

    def add_memberships(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Put many people into many groups at once: (group, person) pairs."""
        names, ids = _columns(pairs)

        def change(session: Session) -> None:
            _refuse_unknown_people(session, ids)
            session.execute(ADD_GROUPS, {"names": sorted(set(names))})
            _touch(session, session.scalars(ADD, {"names": names, "ids": ids}).all())

        self._change(change)

    def remove_members(self, group: str, people: Iterable[Any]) -> None:
        """Take people out of a group."""
        self._leave(REMOVE, group, _ids(people))

    def sync_members(self, group: str, people: Iterable[Any]) -> None:
        """Make these people, and no one else, the members of a group."""
        ids = _ids(people)
        name = _checked_group(group)

        def change(session: Session) -> None:
            _refuse_unknown_people(session, ids)
            session.execute(ADD_GROUPS, {"names": [name]})
            session.execute(LOCK_GROUP, {"name": name})
            gone = session.scalars(REMOVE_OTHERS, {"name": name, "ids": ids}).all()
            new = session.scalars(ADD, {"names": [name] * len(ids), "ids": ids}).all()
            _touch(session, [*gone, *new])

        self._change(change)

    def set_roles(self, roles: Mapping[Any, Iterable[str]]) -> None:
        """Give each person exactly these roles: {person: ["rh"]}. Their other groups stay."""
        if not isinstance(roles, Mapping):
            raise InvalidInput.field("roles", roles, 'roles of people such as {"42": ["rh"]}')
        pairs = [(term.groups[0], person) for person, names in roles.items() for term in role_terms(names, "roles")]
        names, ids = _columns(pairs)
        people = _ids(roles)

        def change(session: Session) -> None:
            _refuse_unknown_people(session, people)
            session.execute(ADD_GROUPS, {"names": sorted(set(names))})
            session.execute(LOCK_PEOPLE, {"ids": people})
            gone = session.scalars(REMOVE_OTHER_ROLES, {"people": people, "role": ROLE, "names": names, "ids": ids}).all()
            new = session.scalars(ADD, {"names": names, "ids": ids}).all()
            _touch(session, [*gone, *new])

        self._change(change)

    def _leave(self, statement: Any, group: str, ids: list[str]) -> None:
        name = _checked_group(group)

        def change(session: Session) -> None:
            unknown = session.scalars(UNKNOWN_GROUPS, {"names": [name]}).all()
            if unknown:
                raise InvalidInput.field("group", name, "a known group")
            _refuse_unknown_people(session, ids)
            _touch(session, session.scalars(statement, {"name": name, "ids": ids}).all())

        self._change(change)

    def _change(self, change: Callable[[Session], Any]) -> None:
        """Make a change in the caller's transaction or one of its own, then tell the gateways."""
        session = own_session(self._session)
        if session is not None:
            change(session)
            ring_after_commit(session, ANNOUNCE_PEOPLE, self._settings)
            return
        with transaction(self._settings) as own:
            change(own)
        ring(ANNOUNCE_PEOPLE, self._settings)


def _touch(session: Session, user_ids: Sequence[int]) -> None:
    if user_ids:
        session.execute(TOUCH, {"ids": sorted(set(user_ids))})


def _refuse_unknown_people(session: Session, ids: Sequence[str]) -> None:
    unknown = session.scalars(UNKNOWN_PEOPLE, {"ids": list(ids)}).all()
    if unknown:
        raise InvalidInput(f"people: expected known people, got {', '.join(unknown)}", field="people", unknown=unknown)


def _listed(values: Iterable[Any], field: str) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidInput.field(field, values, "a list")
    return list(values)


def _ids(people: Iterable[Any]) -> list[str]:
    return [person_id(person) for person in _listed(people, "people")]


def _columns(pairs: Iterable[tuple[str, Any]]) -> tuple[list[str], list[str]]:
    rows = []
    for pair in _listed(pairs, "memberships"):
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
            raise InvalidInput.field(name, value, f"a text of at most {MAX_TEXT} characters, without NUL and lone surrogates")
    if not isinstance(person.is_active, bool):
        raise InvalidInput.field("is_active", person.is_active, "True or False")
    return external_id


def _checked_group(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInput.field("group", name, NAME_EXPECTED)
    if name.startswith(USER) or name == EVERYONE:
        raise InvalidInput.field("group", name, f"a name other than {EVERYONE} and {USER}*, which stand for people themselves")
    return name
