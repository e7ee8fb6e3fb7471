"""Who someone is, in one query for any number of people."""

from __future__ import annotations

from sqlalchemy import event

from gateway.people import load_people
from shared.database import engine


def test_a_person_has_their_own_group_first_then_memberships_by_name(session, company):
    company.person("42", "stage_3", "role_rh", "role_admin", locale="en")
    person = load_people(session, ["42"])["42"]
    assert person.groups == ("user_42", "role_admin", "role_rh", "stage_3")
    assert person.roles == ("admin", "rh")
    assert person.as_dict() == {"id": "42", "name": "Person 42", "roles": ["admin", "rh"], "locale": "en"}


def test_who_has_no_stage_is_in_the_group_of_none(session, company):
    company.person("1", "role_stagiaire", "stage_3")
    company.person("2", "role_stagiaire")
    assert load_people(session, ["2"])["2"].groups == ("user_2", "role_stagiaire")


def test_the_unknown_are_missing_and_the_deactivated_are_there(session, company):
    company.person("7", is_active=False)
    found = load_people(session, ["7", "8"])
    assert list(found) == ["7"]
    assert not found["7"].is_active


def test_many_people_are_one_query(session, company, settings):
    ids = [str(n) for n in range(100)]
    company.people(ids, "role_stagiaire")
    statements: list[str] = []
    listener = lambda *given: statements.append(given[2])
    event.listen(engine(settings), "before_cursor_execute", listener)
    try:
        assert len(load_people(session, ids)) == 100
    finally:
        event.remove(engine(settings), "before_cursor_execute", listener)
    assert len(statements) == 1
