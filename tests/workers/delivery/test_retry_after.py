"""When a server says that it may be asked again: read in every form, believed for an hour at most."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random

import pytest

from workers.delivery.retry_after import LONGEST_SECONDS, retry_after_seconds

NOW = datetime(2027, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("120", 120), (" 7 ", 7), ("3600", 3600), ("3601", 3600), ("9" * 5000, 3600),
        ("Mon, 01 Mar 2027 12:00:30 GMT", 30), ("Monday, 01-Mar-27 12:00:30 GMT", 30), ("Mon Mar  1 12:00:30 2027", 30),
        ("Mon, 01 Mar 2027 13:00:30 +0100", 30), ("Mon, 01 Mar 2027 12:00:30 -0000", 30),
        ("Mon, 01 Mar 2027 11:59:00 GMT", 0), ("Tue, 02 Mar 2027 12:00:00 GMT", 3600), ("Fri, 31 Dec 9999 23:59:59 GMT", 3600),
        (None, 0), ("", 0), ("soon", 0), ("-5", 0), ("+5", 0), ("1.5", 0), ("1e3", 0), ("0x10", 0), ("²", 0), ("٣", 0), ("5, 10", 0),
        ("Mon, 99 Mar 2027 12:00:30 GMT", 0), ("Mon, 01 Mar 99999999 12:00:30 GMT", 0), ("Mon, 01 Mar 2027 12:00:30 +999999999999", 0),
    ],
)  # fmt: skip
def test_seconds_and_dates_are_read_and_anything_else_asks_for_nothing(value: str | None, seconds: float) -> None:
    assert retry_after_seconds(value, NOW) == seconds
    assert LONGEST_SECONDS == 3600


def test_no_nonsense_is_a_fault_of_ours() -> None:
    random = Random(7)
    good = format_datetime(NOW, usegmt=True)
    for _ in range(5000):
        letters = list(good)
        for _ in range(random.randrange(1, 6)):
            letters[random.randrange(len(letters))] = chr(random.randrange(256))
        assert 0 <= retry_after_seconds("".join(letters), NOW) <= LONGEST_SECONDS
