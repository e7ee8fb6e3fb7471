"""The events of the earlier system: type and data, looked up for the notifications that are at hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from shared.errors import InvalidInput, TooLarge
from shared.events import MAX_DATA_BYTES, MAX_DATA_DEPTH, check_data
from shared.importing.django_source import DjangoSource
from shared.importing.rules import Refused, Remarks
from shared.importing.values import text_of

LARGE = f"event taken without data: they are more than {MAX_DATA_BYTES} bytes of JSON"
BAD = f"event taken without data: they are no JSON object of storable texts, at most {MAX_DATA_DEPTH} deep"


@dataclass(frozen=True, slots=True)
class OldEvent:
    """`event_type` in small letters; "" for none."""

    event_type: str = ""
    data: dict[str, Any] = field(default_factory=dict)


class Events:
    """One query a chunk. Holds the ids of those whose data can't come, so that each is remarked once."""

    def __init__(self, source: DjangoSource, remarks: Remarks) -> None:
        self._source = source
        self._remarks = remarks
        self._remarked: set[Any] = set()

    def look_up(self, ids: Iterable[Any]) -> dict[Any, OldEvent]:
        """The events with these ids that are there; None among the ids is none."""
        rows = self._source.events(list({one for one in ids if one is not None}))
        return {row.id: OldEvent((text_of(row.event_type) or "").lower(), self._data(row)) for row in rows}

    def _data(self, row: Any) -> dict[str, Any]:
        try:
            return read_data(row)
        except Refused as reason:
            if row.id not in self._remarked:
                self._remarked.add(row.id)
                self._remarks.add(str(reason), row.id)
            return {}


def read_data(row: Any) -> dict[str, Any]:
    """An event's data, {} when it has none. Raises: Refused."""
    if row.data is None and row.data_length is not None:
        raise Refused(LARGE)
    if row.data is None or row.data == "":
        return {}
    try:
        return check_data(json.loads(row.data) or {})
    except TooLarge:
        raise Refused(LARGE) from None
    except (InvalidInput, TypeError, ValueError, RecursionError):
        raise Refused(BAD) from None
