"""Frames: JSON that browsers read, the same for REST and WebSocket, in the right language."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared.frames import (
    NOTIFICATION,
    ROLE_NOTIFICATION,
    SYSTEM_MESSAGE,
    choose_locale,
    encode,
    notification_frame,
    notification_json,
)

MOMENT = datetime(2026, 11, 22, 11, 30, 5, 123_456, tzinfo=UTC)


def event(**changes: Any) -> Any:
    return SimpleNamespace(**{
        "id": (1 << 53) - 1, "event_type": "system", "category": "SYSTEM", "notification_type": "info", "priority": "normal",
        "texts": {"fr": {"title": "Été", "message": "Ça va \u2028 \"'</script>"}, "en": {"title": "Summer", "message": "Fine"}},
        "data": {"a": [1, {"b": None}]}, "link": "/a", "image": None, "actions": [], "thread_key": None, "format": "plain", "created_at": MOMENT, **changes,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("locales", "wanted", "chosen"),
    [
        (["fr", "en"], "en", "en"),
        (["fr", "en"], "en-GB", "en"),
        (["fr", "en-GB"], "en-GB", "en-GB"),
        (["fr", "en-GB"], "en", "fr"),
        (["fr", "en"], "de", "fr"),
        (["fr", "en"], None, "fr"),
        (["fr", "en"], "", "fr"),
        (["fr", "en"], "EN", "fr"),
        (["en", "de"], None, "de"),
        (["en"], "de-AT", "en"),
    ],
)
def test_everyone_gets_the_nearest_language(locales: list[str], wanted: str | None, chosen: str) -> None:
    assert choose_locale(dict.fromkeys(locales), wanted, default="fr") == chosen


def test_a_notification_holds_all_that_a_browser_shows() -> None:
    shown = notification_json(event(), "fr")
    assert shown == {
        "id": (1 << 53) - 1, "event_type": "system", "category": "SYSTEM", "title": "Été", "message": "Ça va \u2028 \"'</script>",
        "format": "plain", "notification_type": "info", "priority": "normal", "data": {"a": [1, {"b": None}]}, "link": "/a", "image": None, "actions": [],
        "thread_key": None, "created_at": "2026-11-22T11:30:05.123Z", "is_read": False, "read_at": None, "seen_at": None,
    }  # fmt: skip
    assert notification_json(event(), "en")["title"] == "Summer"


def test_read_and_seen_are_told_with_their_times() -> None:
    shown = notification_json(event(), "fr", seen_at=MOMENT, read_at=MOMENT + timedelta(seconds=1))
    assert (shown["is_read"], shown["seen_at"], shown["read_at"]) == (
        True,
        "2026-11-22T11:30:05.123Z",
        "2026-11-22T11:30:06.123Z",
    )
    assert notification_json(event(), "fr", seen_at=MOMENT)["is_read"] is False


def test_a_frame_is_compact_utf_8_that_reads_back_exactly() -> None:
    shown = notification_json(event(), "fr")
    frame = notification_frame(NOTIFICATION, shown)
    assert json.loads(frame) == {"type": "notification", "notification": shown}
    assert "Été".encode() in frame
    assert b"\n" not in frame
    assert b'": ' not in frame
    assert notification_frame(NOTIFICATION, shown) == frame


def test_a_system_message_says_its_text_as_the_specification_has_it() -> None:
    shown = notification_json(event(), "en")
    assert json.loads(notification_frame(SYSTEM_MESSAGE, shown)) == {
        "type": "system_message",
        "message": "Fine",
        "notification": shown,
    }
    assert json.loads(notification_frame(ROLE_NOTIFICATION, shown)).keys() == {"type", "notification"}


def test_a_system_message_says_its_text_without_the_markup_of_a_rich_one() -> None:
    shown = notification_json(
        event(format="rich", texts={"en": {"title": "T", "message": "<p>a &amp; <b>b</b></p><p>c</p>"}}), "en"
    )
    frame = json.loads(notification_frame(SYSTEM_MESSAGE, shown))
    assert frame["message"] == "a & b\nc"
    assert (frame["notification"]["message"], frame["notification"]["format"]) == (
        "<p>a &amp; <b>b</b></p><p>c</p>",
        "rich",
    )


def test_encoding_keeps_what_json_can_say() -> None:
    assert (
        encode({"a": "é", "n": 2**53 - 1, "t": True, "z": None})
        == '{"a":"é","n":9007199254740991,"t":true,"z":null}'.encode()
    )
