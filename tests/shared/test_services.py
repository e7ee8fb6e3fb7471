"""Services' keys: shown once, kept as a hash, ended by one command."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.errors import Conflict, InvalidInput, NotFound, Unauthorized
from shared.services import add_service, disable_service, find_service, list_services, rotate_key


def test_a_key_finds_its_service_and_is_not_kept(session: Session) -> None:
    key = add_service(session, "billing", ["events"])
    found = find_service(session, key)
    assert (found.name, found.permissions) == ("billing", ("events",))
    kept = session.scalar(text("SELECT row_to_json(services)::text FROM services"))
    assert key not in kept
    assert key.removeprefix("sbk_") not in kept
    assert session.scalar(text("SELECT last_used_at IS NOT NULL FROM services"))


def test_a_rotated_key_ends_and_the_new_one_begins(session: Session) -> None:
    old = add_service(session, "billing")
    new = rotate_key(session, "billing")
    assert find_service(session, new).name == "billing"
    with pytest.raises(Unauthorized, match="no service has this key"):
        find_service(session, old)


def test_a_disabled_service_is_refused_until_it_gets_a_new_key(session: Session) -> None:
    key = add_service(session, "billing")
    disable_service(session, "billing")
    with pytest.raises(Unauthorized, match="disabled"):
        find_service(session, key)
    assert find_service(session, rotate_key(session, "billing"))
    assert [(service.name, service.is_active) for service in list_services(session)] == [("billing", True)]


@pytest.mark.parametrize("key", ["sbk_", "sbk_x", "sbk_" + "a" * 43, "sbk_" + "a" * 5000, "sbk_" + "é" * 43])
def test_a_key_nobody_was_given_is_refused_without_repeating_it(key: str, session: Session) -> None:
    with pytest.raises(Unauthorized) as refusal:
        find_service(session, key)
    assert key not in str(refusal.value.as_dict())


@pytest.mark.parametrize("name", ["", "Billing", "a b", "-a", "a" * 64, "é"])
def test_a_name_that_can_not_be_one_is_refused(name: str, session: Session) -> None:
    with pytest.raises(InvalidInput, match="name: expected"):
        add_service(session, name)


def test_names_are_taken_once_and_permissions_are_known(session: Session) -> None:
    add_service(session, "billing")
    with pytest.raises(Conflict):
        add_service(session, "billing")
    with pytest.raises(InvalidInput, match="permissions"):
        add_service(session, "other", ["inbox"])
    with pytest.raises(InvalidInput, match="permissions"):
        add_service(session, "other", [])
    with pytest.raises(NotFound):
        rotate_key(session, "other")
