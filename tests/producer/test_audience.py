"""Audiences in Python say the same as audiences in strings."""

from __future__ import annotations

import uuid
from types import SimpleNamespace

import pytest

from producer import everyone, group, role, user
from shared.audience import parse_audience
from shared.errors import InvalidAudience, InvalidInput


def test_operators_say_what_strings_say() -> None:
    built = (role("rh") | role("tuteur") & group("stage_123") | user(42)).excluding(user(7))
    assert built == parse_audience(["role_rh", "role_tuteur & stage_123", "user_42"], ["user_7"])
    assert str(everyone() & role("rh")) == "everyone & role_rh"


def test_a_person_is_named_by_an_id_or_an_object_that_has_one() -> None:
    one = uuid.uuid4()
    assert user(one) == user(str(one)) == user(SimpleNamespace(id=one))
    assert user(42) == user("42")


@pytest.mark.parametrize("wrong", [None, True, "", 1.5, object(), "a b"])
def test_anything_else_is_no_person(wrong: object) -> None:
    with pytest.raises((InvalidInput, InvalidAudience)):
        user(wrong)
