"""Drafts of events as JSON, so that they can wait in a table of the application's database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.utils.functional import Promise

from shared.audience import Audience, Term
from shared.errors import InvalidInput
from shared.events import EventDraft


class Encoder(DjangoJSONEncoder):
    """Dates, decimals, UUIDs and lazy texts as Django writes them; terms as strings; any iterable as a list."""

    def default(self, o: Any) -> Any:
        """What `json` can't write by itself. Raises: TypeError."""
        if isinstance(o, Term):
            return str(o)
        if isinstance(o, Mapping):
            return dict(o)
        if isinstance(o, Iterable) and not isinstance(o, (bytes, Promise)):  # a lazy text is one of letters, too
            return list(o)
        return super().default(o)


def encode(drafts: Sequence[EventDraft]) -> str:
    """A JSON list, ASCII only: any database can hold it. Raises: InvalidInput for what JSON can't hold."""
    try:
        return json.dumps([_said(draft) for draft in drafts], cls=Encoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"event: expected values that JSON can hold: {error}", field="data") from None


def decode(text: str) -> list[EventDraft]:
    """The drafts of `encode`."""
    return [EventDraft(**values) for values in json.loads(text)]


def _said(draft: EventDraft) -> dict[str, Any]:
    """What the draft says beyond the defaults."""
    said = {field.name: getattr(draft, field.name) for field in fields(draft)}
    if isinstance(draft.audience, Audience):
        said["audience"] = draft.audience.terms
        said["exclude"] = [*draft.audience.exclude, *draft.exclude]
    defaults = {field.name: field.default for field in fields(draft) if field.default is not MISSING}
    return {name: value for name, value in said.items() if name not in defaults or value != defaults[name]}
