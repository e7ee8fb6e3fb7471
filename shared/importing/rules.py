"""What is taken, the same for import, dry run and check; and the remarks on what is not, or not as it was.

Nothing is guessed: what can't be taken is refused with a reason, and reasons are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

EXAMPLES = 5  # shown for each reason
MAX_REASON, MAX_EXAMPLE = 500, 100  # characters


@dataclass(frozen=True, slots=True)
class Rules:
    """`since` is None for everything. `types`, `roles` and `templates` say what an old name is here."""

    since: datetime | None
    now: datetime
    zone: tzinfo = UTC
    types: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)


def taken_since(now: datetime, retention_days: int) -> datetime:
    """The UTC midnight from which notifications are taken: whole days, so that no event is cut in two."""
    return (now - timedelta(days=retention_days)).replace(hour=0, minute=0, second=0, microsecond=0)


class Refused(Exception):
    """Why a row is not taken."""


@dataclass(slots=True)
class Remarks:
    """Reasons, how many rows each concerns, and the first of them."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, example: object) -> None:
        """Count a row; `example` is its id, with the value where that helps."""
        reason = printable(reason, MAX_REASON)
        self.counts[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < EXAMPLES:
            shown.append(printable(example, MAX_EXAMPLE))

    def as_list(self) -> list[dict[str, Any]]:
        """The most frequent first."""
        return [
            {"reason": reason, "rows": rows, "examples": self.examples[reason]}
            for reason, rows in self.counts.most_common()
        ]


def printable(value: object, longest: int) -> str:
    """For a terminal: the old rows may hold anything."""
    return "".join(one if one.isprintable() else "�" for one in str(value)[:longest])
