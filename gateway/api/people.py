"""People, groups and memberships in bulk, for services and admins. The work is `shared.directory`'s.

Each call is one transaction with its line in the audit log, so it happens as a whole or not at all; the
gateways are told after the commit, and open connections follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, request
from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway.api.body import Field, is_a, json_object
from gateway.auth import current_actor, current_authenticator, requires_service_or_role
from gateway.transactions import in_transaction
from shared import audit, directory
from shared.directory import Person
from shared.doorbell import ring
from shared.errors import InvalidInput, NotFound, TooLarge
from shared.settings import Settings
from shared.tasks import ANNOUNCE_PEOPLE
from shared.texts import is_storable

blueprint = Blueprint("people", __name__, url_prefix="/api/notifications")

PERMISSION = "people"
MAX_ITEMS = 1000  # people, groups or memberships in a call
MAX_SYNCED = 100  # groups that a call makes exact: each is five statements
BODY_BYTES = 1_048_576  # a thousand people with everything about them

PERSON_FIELDS: Mapping[str, Field] = {
    "id": ((str, int), "the application's own id: a text or a number"),
    "name": (str, "a text"),
    "email": (str, "a text"),
    "phone": (str, "a text"),
    "locale": (str, "a language such as fr"),
    "timezone": (str, "a zone such as Europe/Paris"),
    "is_active": (bool, "true or false"),
}
PEOPLE_FIELDS: Mapping[str, Field] = {
    "people": (list, 'a list of people such as {"id": "42", "name": "Ann"}; what is left out is emptied')
}
IDS_FIELDS: Mapping[str, Field] = {"people": (list, 'a list of ids such as ["42"]')}
GROUPS_FIELDS: Mapping[str, Field] = {"groups": (list, 'a list of names such as ["stage_7"]')}
MEMBERSHIP_FIELDS: Mapping[str, Field] = {
    "add": (dict, 'people to put into groups: {"stage_7": ["42"]}'),
    "remove": (dict, 'people to take out of groups: {"stage_7": ["43"]}'),
    "sync": (dict, 'all the members of groups: {"stage_8": ["42", "43"]}; whoever else is in them leaves'),
}

GET_PERSON = text("""
    SELECT external_id AS id, name, email, phone, locale, timezone, is_active,
           ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1 LIMIT 1000) AS groups
    FROM users WHERE external_id = :id
""")


def _admins(settings: Settings) -> tuple[str, ...]:
    return settings.broadcast_roles


@blueprint.route("/people/", methods=["POST", "PUT"])
@requires_service_or_role(PERMISSION, _admins)
def upsert_people() -> dict[str, int]:
    """Add people, or replace what is known of them."""
    people = [_person(one, n) for n, one in enumerate(_items("people", PEOPLE_FIELDS))]
    return _change(
        "people.upsert", [str(one.id) for one in people], lambda session: directory.upsert_people(session, people)
    )


@blueprint.get("/people/<external_id>/")
@requires_service_or_role(PERMISSION, _admins)
def show_person(external_id: str) -> dict[str, Any]:
    """A person as the service knows them, with their groups."""
    row = None
    if is_storable(external_id):
        row = in_transaction(
            current_authenticator().settings,
            lambda session: session.execute(GET_PERSON, {"id": external_id}).one_or_none(),
        )
    if row is None:
        raise NotFound(f"id: there is no person {external_id!r}", field="id", value=external_id)
    return dict(row._mapping)


@blueprint.post("/people/deactivate/")
@requires_service_or_role(PERMISSION, _admins)
def deactivate_people() -> dict[str, int]:
    """These people get nothing more, and their open connections are closed. `people/` with is_active lets them in again."""
    ids = _items("people", IDS_FIELDS)
    return _change(
        "people.deactivate", [str(one) for one in ids], lambda session: directory.set_active(session, ids, False)
    )


@blueprint.post("/groups/")
@requires_service_or_role(PERMISSION, _admins)
def add_groups() -> dict[str, int]:
    """Make groups known, so that events can be addressed to them."""
    names = _items("groups", GROUPS_FIELDS)
    return _change("groups.add", [str(name) for name in names], lambda session: directory.add_groups(session, names))


@blueprint.post("/memberships/")
@requires_service_or_role(PERMISSION, _admins)
def change_memberships() -> dict[str, int]:
    """Put people into groups, take them out, or say who all the members are: one transaction, in this order."""
    body = _body(MEMBERSHIP_FIELDS)
    if not body:
        raise InvalidInput("body: expected add, remove or sync", field="body", expected="add, remove or sync")
    lists = {name: _lists(name, body.get(name, {})) for name in MEMBERSHIP_FIELDS}
    _refuse_many("memberships", sum(len(people) for groups in lists.values() for people in groups.values()), MAX_ITEMS)
    _refuse_many("sync", len(lists["sync"]), MAX_SYNCED)

    def work(session: Session) -> int:
        changed = directory.add_memberships(session, _pairs(lists["add"]))
        changed += directory.remove_memberships(session, _pairs(lists["remove"]))
        # In one order, so that two calls never wait for each other in a circle.
        return changed + sum(
            directory.sync_members(session, group, people) for group, people in sorted(lists["sync"].items())
        )

    return _change(
        "memberships.change", [f"{name} {group}" for name, groups in lists.items() for group in groups], work
    )


def _change(action: str, names: list[str], change: Callable[[Session], int]) -> dict[str, int]:
    """Make a change and write it down; how many it changed."""
    settings, actor = current_authenticator().settings, current_actor()

    def work(session: Session) -> int:
        changed = change(session)
        target = names[0] if len(names) == 1 else ""
        audit.record(session, actor, action, target, {**audit.shortened(names), "changed": changed})
        return changed

    changed = in_transaction(settings, work)
    ring(ANNOUNCE_PEOPLE, settings)
    return {"changed": changed}


def _body(fields: Mapping[str, Field]) -> dict[str, Any]:
    request.max_content_length = max(BODY_BYTES, request.max_content_length or 0)
    return json_object(fields)


def _items(name: str, fields: Mapping[str, Field]) -> list[Any]:
    """The list that a body holds. Raises: InvalidInput, TooLarge."""
    items = _body(fields).get(name)
    if not items:
        raise InvalidInput.field(name, items, "a list of at least one")
    _refuse_many(name, len(items), MAX_ITEMS)
    return list(items)


def _refuse_many(name: str, number: int, most: int) -> None:
    if number > most:
        raise TooLarge(
            f"{name}: expected at most {most}, got {number}", field=name, length=number, expected=f"at most {most}"
        )


def _person(value: Any, n: int) -> Person:
    if not isinstance(value, dict) or value.get("id") is None:
        raise InvalidInput.field(f"people[{n}]", value, 'a person such as {"id": "42", "name": "Ann"}')
    for name, given in value.items():
        if name not in PERSON_FIELDS:
            raise InvalidInput.field(f"people[{n}]", name, "only " + ", ".join(PERSON_FIELDS))
        kind, expected = PERSON_FIELDS[name]
        if given is not None and not is_a(kind, given):
            raise InvalidInput.field(f"people[{n}].{name}", given, expected)
    return Person(**{name: given for name, given in value.items() if given is not None})


def _lists(field: str, groups: dict[str, Any]) -> dict[str, list[Any]]:
    for group, people in groups.items():
        if not isinstance(people, list):
            raise InvalidInput.field(f"{field}.{group}", people, 'a list of ids such as ["42"]')
    return groups


def _pairs(groups: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(group, person) for group, people in groups.items() for person in people]
