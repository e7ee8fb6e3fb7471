"""How one door of the API is described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from gateway.api.body import Field
from shared.errors import NotificationError

MOMENT = "2026-11-30T08:00:00Z"
EVENT_ID = 385_875_968_000_001


class Answer(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """One endpoint. Its first line of words is the docstring of its view.

    `answer` is None for what is no JSON object; `mimetype` then says what it is. `errors` are those that
    it has beside what every door of its kind has (see `document.errors_of`).
    """

    who: str
    answer: type[BaseModel] | None
    example: Any
    status: int = 200
    mimetype: str = "application/json"
    body: Mapping[str, Field] | None = None
    required: tuple[str, ...] = ()
    body_example: Mapping[str, Any] | None = None
    query: Mapping[str, str] | None = None
    path: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    errors: tuple[type[NotificationError], ...] = ()


ANYONE = "anyone"
PEOPLE = "people"
SENDERS = "people with a role in SEND_ROLES"
ADMINS = "people with a role in BROADCAST_ROLES"
EVENT_SERVICES = "services that may `events`; people with a role in BROADCAST_ROLES"
PEOPLE_SERVICES = "services that may `people`; people with a role in BROADCAST_ROLES"
