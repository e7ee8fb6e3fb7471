"""The domain table: what an application's events mean when the caller says no more.

One row per event_type, and below it one per action (`data["action"]`): category, default
notification_type, default audience and default texts. What an action's row does not say, that of its
event_type does; an action without a row is its event_type. Placeholders such as `{stage_id}` are filled
from the event's data. A term, and the notification_type, may name what holds when the data is missing:
`role_rh & entreprise_{entreprise_id} else role_rh`, `user_{candidate_id} else nobody`. Without an
`else` the data is required. StageBloom's table is `catalog.json` beside this file; another application
names a JSON file of its own in CATALOG_FILE:

    {"invoice": {"category": "BILLING", "notification_type": "info", "audience": ["role_accounting"],
                 "texts": {"en": {"title": "New invoice", "message": "Invoice {number} has arrived"}},
                 "actions": {"overdue": {"notification_type": "warning"}}}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.audience import NAME, NAME_EXPECTED, Term, parse_term
from shared.errors import InvalidAudience, InvalidInput, SettingsError
from shared.models import NOTIFICATION_TYPES
from shared.settings import LOCALE

STAGEBLOOM = Path(__file__).with_name("catalog.json")
NOBODY = "nobody"
ELSE = " else "
PLACEHOLDER = re.compile(r"\{(\w+)\}")


def _template(value: str) -> str:
    if re.search("[{}]", PLACEHOLDER.sub("", value)):
        raise ValueError("placeholders such as {stage_id}, and no other braces")
    return value


def _audience_template(value: str) -> str:
    *terms, last = _template(value).split(ELSE)
    for term in [*terms, *([] if last == NOBODY else [last])]:
        try:
            parse_term(PLACEHOLDER.sub("1", term))
        except InvalidAudience as error:
            raise ValueError(error.message) from None
    return value


def _type_template(value: str) -> str:
    *levels, last = value.split(ELSE)
    if last not in NOTIFICATION_TYPES or len(levels) > 1 or not all(PLACEHOLDER.fullmatch(level) for level in levels):
        raise ValueError(f"one of {', '.join(map(repr, NOTIFICATION_TYPES))}, or '{{level}} else' and one of them")
    return value


Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
AudienceTemplate = Annotated[str, AfterValidator(_audience_template)]
TypeTemplate = Annotated[str, AfterValidator(_type_template)]
Category = Annotated[str, Field(min_length=1, max_length=50)]
Locale = Annotated[str, Field(pattern=f"^{LOCALE}$")]


class Words(BaseModel):
    """A title and a message in one language, with placeholders."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: Template
    message: Template


Texts = Annotated[Mapping[Locale, Words], Field(min_length=1)]


class Action(BaseModel):
    """What is different about an event_type when its data names this action."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    category: Category | None = None
    notification_type: TypeTemplate | None = None
    audience: tuple[AudienceTemplate, ...] | None = None
    texts: Texts | None = None


class EventType(BaseModel):
    """One row of the catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    category: Category
    notification_type: TypeTemplate = "info"
    audience: tuple[AudienceTemplate, ...]
    texts: Texts
    actions: Mapping[str, Action] = Field(default_factory=dict)

    def of_action(self, action: Any) -> EventType:
        """The row of one of its actions; the row itself for one that has none."""
        own = self.actions.get(action) if isinstance(action, str) else None
        if own is None:
            return self
        return self.model_copy(update={name: value for name, value in own if value is not None})

    def audience_for(self, data: Mapping[str, Any]) -> list[Term]:
        """The default audience. Raises: InvalidInput naming the data that a term needs."""
        terms = (_fill_term(template, data) for template in self.audience)
        return [term for term in terms if term is not None]

    def notification_type_for(self, data: Mapping[str, Any]) -> str:
        """The default type. Raises: InvalidInput when the data names one that does not exist."""
        level, has_else, otherwise = self.notification_type.partition(ELSE)
        if not has_else:
            return self.notification_type
        name = level.strip("{}")
        value = data.get(name)
        if value is None:
            return otherwise
        if value not in NOTIFICATION_TYPES:
            raise InvalidInput.field(f"data.{name}", value, "one of " + ", ".join(NOTIFICATION_TYPES))
        return str(value)

    def texts_for(self, data: Mapping[str, Any], but: Container[str] = ()) -> dict[str, dict[str, str]]:
        """The default texts in every language `but` these. Raises: InvalidInput naming the data that one needs."""
        return {
            locale: {"title": _fill(words.title, data), "message": _fill(words.message, data)}
            for locale, words in self.texts.items()
            if locale not in but
        }


def _fill_term(template: str, data: Mapping[str, Any]) -> Term | None:
    first, has_else, otherwise = template.partition(ELSE)
    if has_else and any(data.get(name) is None for name in PLACEHOLDER.findall(first)):
        return None if otherwise == NOBODY else _fill_term(otherwise, data)
    # Each name is filled alone, so that a value such as "1 & role_rh" can't change the algebra.
    return Term(tuple(_fill_name(name.strip(), data) for name in first.split("&")))


def _fill_name(template: str, data: Mapping[str, Any]) -> str:
    filled = _fill(template, data)
    if not NAME.fullmatch(filled):
        raise InvalidInput.field("data", filled, NAME_EXPECTED)
    return filled


def _fill(template: str, data: Mapping[str, Any]) -> str:
    def value_of(placeholder: re.Match[str]) -> str:
        name = placeholder[1]
        value = data.get(name)
        if not isinstance(value, (str, int, float)) or isinstance(value, bool) or value == "":
            raise InvalidInput.field(f"data.{name}", value, f"a text or number, needed by {template!r}")
        return str(value)

    return PLACEHOLDER.sub(value_of, template)


EVENT_TYPES = TypeAdapter(Annotated[dict[str, EventType], Field(min_length=1)])


@lru_cache(maxsize=8)
def load_catalog(path: Path | None) -> Mapping[str, EventType]:
    """The catalogue of a file, or StageBloom's. Raises: SettingsError saying what is wrong in the file."""
    path = path or STAGEBLOOM
    try:
        return EVENT_TYPES.validate_python(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"CATALOG_FILE={path}: expected a JSON file of event types: {_cause(error)}") from None


def _cause(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg'].removeprefix('Value error, ')}, got {fault['input']!r}"
        for fault in error.errors()
    )


def event_type(catalog: Mapping[str, EventType], name: str, action: Any = None) -> EventType:
    """The row of an event type and action. Raises: InvalidInput naming the event types that exist."""
    if not isinstance(name, str) or name not in catalog:
        raise InvalidInput.field("event_type", name, "one of " + ", ".join(sorted(catalog)))
    return catalog[name].of_action(action)
