"""When a server says that it may be asked again: the header Retry-After (RFC 9110, 10.2.3), read and bounded."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_SECONDS = 3600.0  # nobody stops us for longer; what still fails then has tries left


def retry_after_seconds(value: str | None, now: datetime) -> float:
    """From 0 to an hour: `value` is seconds or a date. 0 for none, for one that is past, and for what can't be read."""
    found = (value or "").strip()
    if re.fullmatch("[0-9]+", found):
        seconds = float(found)
    else:
        try:
            moment = parsedate_to_datetime(found)
            seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_SECONDS)
