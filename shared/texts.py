"""What a text may be: storable, not empty, not too long; and which links may stand in one.

PostgreSQL, JSON and UTF-8 can all hold anything but NUL and lone surrogates.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from shared.errors import InvalidInput, TooLarge

MAX_TITLE = 200  # characters
MAX_MESSAGE = 4000  # characters

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(value: str) -> bool:
    """Whether a text can be stored and sent as it is. Python and JSON escapes let more through."""
    return UNSTORABLE.search(value) is None


def check_text(name: str, value: Any, longest: int) -> str:
    """The text itself. Raises: InvalidInput, TooLarge, naming the field, for what is not 1 to `longest` characters."""
    expected = f"a text of 1 to {longest} characters"
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput.field(name, value, expected)
    if len(value) > longest:
        raise TooLarge(
            f"{name}: expected {expected}, got {len(value)} characters",
            field=name,
            expected=expected,
            length=len(value),
        )
    if not is_storable(value):
        raise InvalidInput.field(name, value, "Unicode text without NUL and lone surrogates")
    return value


def is_web_link(value: str) -> bool:
    """http, https or a path of the application's own; anything else could run in a browser."""
    try:
        parts = urlsplit(value)
        absolute = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        absolute = False
    own_path = value.startswith("/") and not value.startswith(("//", "/\\"))
    return (absolute or own_path) and not any(ord(letter) <= 32 for letter in value)
