"""Drafts that wait as JSON say the same afterwards."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from django.utils.functional import lazystr

from producer import everyone, group, happened, role, user
from producer.integrations.django.drafts import decode, encode
from shared.errors import InvalidInput
from shared.events import EventDraft, check_draft
from shared.settings import Settings

WORDS: dict[str, Any] = {"title": "T", "message": "M"}
DRAFTS = [
    EventDraft(audience=everyone(), **WORDS),
    EventDraft(audience=role("rh") & group("stage_7") | user(1), **WORDS),
    EventDraft(audience=(role("rh") | user(1)).excluding(user(2)), exclude=[user(3), "user_4"], **WORDS),
    EventDraft(audience={"role_rh"}, actions=({"label": "L", "link": "/a"} for _ in range(2)), **WORDS),
    EventDraft(audience="role_rh & stage_7", texts={"fr": MappingProxyType(WORDS)}, format="rich", priority="high"),
    EventDraft(audience=["role_rh"], data=MappingProxyType({"a": [1, {"b": None}]}), link="/a", source="s", **WORDS),
    happened("stage_update", "created", {"stage_id": 7}, source_user=42, idempotency_key="k", thread_key="é ' 7"),
]


@pytest.mark.parametrize("draft", DRAFTS, ids=range(len(DRAFTS)))
def test_whatever_form_a_draft_has_it_is_the_same_event(draft: EventDraft, settings: Settings) -> None:
    draft.actions = list(draft.actions)
    (same,) = decode(encode([draft]))
    assert check_draft(same, settings) == check_draft(draft, settings)


def test_what_django_writes_as_json_becomes_text() -> None:
    data = {
        "day": date(2026, 5, 1),
        "at": datetime(2026, 5, 1, 9, 30, tzinfo=UTC),
        "amount": Decimal("1.50"),
        "key": UUID(int=7),
        "label": lazystr("Été"),
    }
    (same,) = decode(encode([EventDraft(data=data)]))
    assert list(same.data.values()) == [
        "2026-05-01", "2026-05-01T09:30:00Z", "1.50", "00000000-0000-0000-0000-000000000007", "Été",
    ]  # fmt: skip


def test_what_text_columns_can_not_hold_is_escaped_and_refused_later(settings: Settings) -> None:
    text = encode([EventDraft(audience="role_rh", title="a\x00b\ud83d", message="M")])
    assert text.isascii()
    assert "\x00" not in text
    with pytest.raises(InvalidInput, match="title: expected"):
        check_draft(decode(text)[0], settings)


def test_what_json_can_not_hold_is_refused_at_once() -> None:
    circular: dict[str, Any] = {}
    circular["self"] = circular
    for data in ({"a": object()}, {"a": b"x"}, circular, {("a", 1): 2}):
        with pytest.raises(InvalidInput, match="event: expected values that JSON can hold"):
            encode([EventDraft(data=data)])  # type: ignore[arg-type]
