"""What people read shows as it is written: nothing hidden, nothing turned round, and every language stays."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput
from shared.texts import check_line, check_message, is_web_link, one_line, readable

CONTROLS = [*range(0x01, 0x20), *range(0x7F, 0xA0)]  # NUL can't even be stored
OVERRIDES = [0x202D, 0x202E]
DIRECTIONS = [0x202A, 0x202B, 0x202C, *range(0x2066, 0x206A)]

FINE = [
    "Évaluation à compléter : 75\u00a0% (n°\u00a07)",
    "👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 🇫🇷 👍🏽",  # joined, tagged, with a variation, of two letters, with a skin
    "تم قبول الطلب\u200f (A-7) \u061c100%",
    "ההסכם נחתם\u200e PDF\u200e",
    "می\u200cخواهم क्\u200dष भाषा ภาษา\u200bไทย",
    "e\u0301 ﬁ 日本語 \u2060 \ufeffx",
    "\U0001fae8",  # newer than this Python knows
]


@pytest.mark.parametrize("value", FINE)
def test_every_language_and_emoji_stays_as_it_is(value: str) -> None:
    assert check_line("title", value, 200) == check_message("message", value) == value
    assert one_line(value) == readable(value) == value


@pytest.mark.parametrize("code", [*CONTROLS, *OVERRIDES, *DIRECTIONS, 0x2028, 0x2029])
def test_what_can_not_stand_in_a_line_is_named_with_its_place(code: int) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_line("title", f"ab{chr(code)}c", 200)
    assert refused.value.message.startswith(f"title: expected one line without control characters, got U+{code:04X} ")
    assert refused.value.message.endswith(" at character 3")
    assert refused.value.details["field"] == "title"
    assert one_line(f"{chr(code)}ab{chr(code)}{chr(code)}c{chr(code)}") == "ab c"


@pytest.mark.parametrize("code", [code for code in CONTROLS if code not in (0x09, 0x0A)] + OVERRIDES)
def test_what_can_not_stand_in_a_message_is_named_with_its_place(code: int) -> None:
    with pytest.raises(InvalidInput, match=rf"^message: expected .* got U\+{code:04X} .* at character 4$"):
        check_message("message", f"a\nb{chr(code)}c")
    assert readable(f"a\nb{chr(code)}\tc") == "a\nb \tc"


def test_a_control_is_named_even_though_unicode_has_no_name_for_it() -> None:
    with pytest.raises(InvalidInput, match=r"got U\+0007 \(a control character\)"):
        check_line("title", "a\a", 200)
    with pytest.raises(InvalidInput, match=r"got U\+202E RIGHT-TO-LEFT OVERRIDE"):
        check_message("message", "exe.\u202egpj")


def test_a_message_has_lines_tabs_and_quotations_in_the_other_direction() -> None:
    value = "a\n\n\tb \u2067שלום\u2069 \u202bمرحبا\u202c\u2028c"
    assert check_message("message", value) == readable(value) == value


def test_lines_end_in_one_way_whoever_wrote_them() -> None:
    assert check_message("message", "a\r\nb\r\n\r\nc") == readable("a\r\nb\r\n\r\nc") == "a\nb\n\nc"
    with pytest.raises(InvalidInput, match=r"U\+000D"):  # it would write over what stands before it
        check_message("message", "paid\runpaid")


@pytest.mark.parametrize(
    "value", ["", " ", "\u00a0\u2003", "\u200b\u200d\ufeff", "\u2060\u00ad", "\u200f \u202e", "\u3164", "\u2800 \uffa0"]
)
def test_what_shows_nothing_is_empty(value: str) -> None:
    for check in (check_line, check_message):
        with pytest.raises(InvalidInput, match="a text of 1 to 200 characters"):
            check("title", value, 200)


@pytest.mark.parametrize("code", [*CONTROLS, *OVERRIDES, *DIRECTIONS])
def test_nothing_hides_in_a_link(code: int) -> None:
    assert is_web_link("https://a.test/é")
    assert not is_web_link(f"https://a.test/{chr(code)}x")
    assert not is_web_link(f"/{chr(code)}x")
