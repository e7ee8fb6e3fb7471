"""The doors of people, groups and memberships."""

from __future__ import annotations

from gateway.api.people import GROUPS_FIELDS, IDS_FIELDS, MEMBERSHIP_FIELDS, PEOPLE_FIELDS
from gateway.openapi.door import PEOPLE_SERVICES, Answer, Door
from shared.errors import NotFound, TooLarge


class Changed(Answer):
    changed: int


class Person(Answer):
    id: str
    name: str
    email: str | None
    phone: str | None
    locale: str | None
    timezone: str | None
    is_active: bool
    groups: list[str]


ANN = {
    "id": "42",
    "name": "Ann",
    "email": "ann@example.test",
    "phone": None,
    "locale": "fr",
    "timezone": "Europe/Paris",
    "is_active": True,
}

DOORS = {
    "people.upsert_people": Door(
        who=PEOPLE_SERVICES, answer=Changed, example={"changed": 1}, body=PEOPLE_FIELDS, required=("people",), errors=(TooLarge,),
        body_example={"people": [{"id": "42", "name": "Ann", "email": "ann@example.test", "locale": "fr"}]},
    ),
    "people.show_person": Door(
        who=PEOPLE_SERVICES, answer=Person, example={**ANN, "groups": ["role_rh", "stage_7"]},
        path={"external_id": "the application's id of a person"}, errors=(NotFound,),
    ),
    "people.deactivate_people": Door(
        who=PEOPLE_SERVICES, answer=Changed, example={"changed": 1}, body=IDS_FIELDS, required=("people",), body_example={"people": ["42"]}, errors=(TooLarge,)
    ),
    "people.add_groups": Door(
        who=PEOPLE_SERVICES, answer=Changed, example={"changed": 1}, body=GROUPS_FIELDS, required=("groups",), body_example={"groups": ["stage_7"]}, errors=(TooLarge,)
    ),
    "people.change_memberships": Door(
        who=PEOPLE_SERVICES, answer=Changed, example={"changed": 1}, body=MEMBERSHIP_FIELDS, errors=(TooLarge,), body_example={"add": {"stage_7": ["42"]}}
    ),
}  # fmt: skip
