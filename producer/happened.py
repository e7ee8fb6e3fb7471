"""What happened, in the catalogue's words: an event type, an action and the data of its row.

    happened("stage_update", "status_changed", {"stage_id": stage, "new_status": "termine"})

Whom it concerns and what it says stand in the catalogue; `NotificationService.send` records it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from producer.audience import person_id
from producer.service import EventOptions, plain_options
from shared.events import EventDraft

ID = "_id"  # how the names of data end that name a person, a stage, a survey, …


def happened(
    event_type: str, action: str | None, data: Mapping[str, Any], **options: Unpack[EventOptions]
) -> EventDraft:
    """The draft of an event. What is None in the data is left out; a `…_id` may be an object with an id.

    Raises: InvalidInput for an id that is none. Everything else is checked when it is recorded.
    """
    return EventDraft(event_type=event_type, data=plain_data({"action": action, **data}), **plain_options(options))


def plain_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Data as it stands in the frame: ids instead of objects with an id, nothing that is None."""
    return {name: _plain_id(name, value) for name, value in data.items() if value is not None}


def _plain_id(name: str, value: Any) -> Any:
    """Numbers stay numbers: browsers get the id as the application writes it."""
    if not name.endswith(ID) or type(value) in (str, int):
        return value
    return person_id(value, name)
