"""Event ids carry time: seconds since 2024-01-01 UTC, shifted left by 22, plus 22 bits of a sequence.

53 bits, so that JavaScript reads them exactly (until 2092). Made by the SQL function `next_event_id()`;
ordering, cursors, partitions and retention follow from the id alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
SEQUENCE_BITS = 22
MAX_EVENT_ID = (1 << 53) - 1


def event_id_time(event_id: int) -> datetime:
    """When an id was made: UTC, to the second."""
    return EPOCH + timedelta(seconds=event_id >> SEQUENCE_BITS)


def first_event_id_at(moment: datetime) -> int:
    """The smallest id that can be made at `moment` (aware); 0 before 2024."""
    seconds = int((moment - EPOCH).total_seconds())
    return max(0, seconds) << SEQUENCE_BITS
