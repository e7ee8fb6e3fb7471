"""What text PostgreSQL, JSON and UTF-8 can all hold: anything but NUL and lone surrogates."""

from __future__ import annotations

import re

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def is_storable(value: str) -> bool:
    """Whether a text can be stored and sent as it is. Python and JSON escapes let more through."""
    return UNSTORABLE.search(value) is None
