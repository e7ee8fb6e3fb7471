"""What a raw value of the earlier database says: a text, a truth, a time. None says: none of that.

SQLite keeps anything in any column, and a PostgreSQL that checks no encoding keeps any bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Any
from uuid import UUID

from shared.texts import is_storable

NO_TEXT = "no text in the database's encoding without NUL"


def text_of(value: Any) -> str | None:
    """A text that can be stored, also of an id that is a number or a UUID; "" for NULL."""
    if value is None:
        return ""
    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and is_storable(value) else None


def truth_of(value: Any) -> bool | None:
    """True or False, also as 1 and 0."""
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


def moment_of(value: Any, zone: tzinfo) -> datetime | None:
    """An aware time in UTC; one without a zone is of `zone`."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
