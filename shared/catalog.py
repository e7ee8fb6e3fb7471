"""The domain table: what an application's events mean when the caller says no more.

One row per event_type: category, default notification_type, default audience and default texts.
Placeholders such as `{stage_id}` are filled from the event's data; a term may name what holds when its
data is missing: `role_rh & entreprise_{entreprise_id} else role_rh`, `user_{candidate_id} else nobody`.
Without an `else` the data is required. This is StageBloom's table; another
application names a JSON file of its own in CATALOG_FILE:

    {"invoice": {"category": "BILLING", "notification_type": "info", "audience": ["role_accounting"],
                 "texts": {"en": {"title": "New invoice", "message": "Invoice {number} has arrived"}}}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from shared.audience import NAME, NAME_EXPECTED, Term, parse_term
from shared.errors import InvalidAudience, InvalidInput, SettingsError
from shared.settings import LOCALE

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


Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
AudienceTemplate = Annotated[str, AfterValidator(_audience_template)]
Locale = Annotated[str, Field(pattern=f"^{LOCALE}$")]


class Words(BaseModel):
    """A title and a message in one language, with placeholders."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    title: Template
    message: Template


class EventType(BaseModel):
    """One row of the catalogue."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    category: str = Field(min_length=1, max_length=50)
    notification_type: Literal["info", "success", "warning", "error"] = "info"
    audience: tuple[AudienceTemplate, ...]
    texts: Mapping[Locale, Words] = Field(min_length=1)

    def audience_for(self, data: Mapping[str, Any]) -> list[Term]:
        """The default audience. Raises: InvalidInput naming the data that a term needs."""
        terms = (_fill_term(template, data) for template in self.audience)
        return [term for term in terms if term is not None]

    def texts_for(self, data: Mapping[str, Any]) -> dict[str, dict[str, str]]:
        """The default texts in every language. Raises: InvalidInput naming the data that one needs."""
        return {
            locale: {"title": _fill(words.title, data), "message": _fill(words.message, data)}
            for locale, words in self.texts.items()
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


def _words(title: str, message: str) -> Words:
    return Words(title=title, message=message)


STAGEBLOOM: dict[str, EventType] = {
    "system": EventType(
        category="SYSTEM",
        audience=("everyone",),
        texts={"fr": _words("Message du système", "Une information concerne la plateforme."), "en": _words("System message", "There is news about the platform.")},
    ),
    "user_action": EventType(
        category="USER_ACTION",
        audience=("user_{user_id}",),
        texts={"fr": _words("Activité", "Une action vous concerne."), "en": _words("Activity", "An action concerns you.")},
    ),
    "stage_update": EventType(
        category="STAGE_UPDATE",
        audience=("stage_{stage_id}",),
        texts={"fr": _words("Stage mis à jour", "Le stage {stage_id} a été mis à jour."), "en": _words("Internship updated", "Internship {stage_id} was updated.")},
    ),
    "document_upload": EventType(
        category="DOCUMENT_UPLOAD",
        audience=("stage_{stage_id}", "role_rh"),
        texts={"fr": _words("Document déposé", "Un document a été déposé pour le stage {stage_id}."), "en": _words("Document uploaded", "A document was uploaded to internship {stage_id}.")},
    ),
    "evaluation": EventType(
        category="EVALUATION",
        audience=("user_{evaluator_id}", "user_{evaluated_id}"),
        texts={"fr": _words("Évaluation", "Une évaluation vous concerne."), "en": _words("Evaluation", "An evaluation concerns you.")},
    ),
    "survey": EventType(
        category="SURVEY",
        audience=("survey_{survey_id}", "role_rh"),
        texts={"fr": _words("Sondage", "Le sondage {survey_id} est disponible."), "en": _words("Survey", "Survey {survey_id} is available.")},
    ),
    "testimonial": EventType(
        category="TESTIMONIAL",
        notification_type="success",
        audience=("role_rh", "stage_{stage_id}"),
        texts={"fr": _words("Témoignage", "Un témoignage a été déposé pour le stage {stage_id}."), "en": _words("Testimonial", "A testimonial was submitted for internship {stage_id}.")},
    ),
    "demande": EventType(
        category="DEMANDE",
        audience=("role_rh & entreprise_{entreprise_id} else role_rh", "user_{candidate_id} else nobody"),
        texts={"fr": _words("Demande", "Une demande a été déposée."), "en": _words("Application", "An application was submitted.")},
    ),
    "kpi_alert": EventType(
        category="KPI_ALERT",
        notification_type="warning",
        audience=("role_rh", "role_tuteur & stage_{stage_id}"),
        texts={"fr": _words("Alerte KPI", "Un indicateur du stage {stage_id} demande votre attention."), "en": _words("KPI alert", "An indicator of internship {stage_id} needs your attention.")},
    ),
}


EVENT_TYPES = TypeAdapter(Annotated[dict[str, EventType], Field(min_length=1)])


@lru_cache(maxsize=8)
def load_catalog(path: Path | None) -> Mapping[str, EventType]:
    """The catalogue of a file, or StageBloom's. Raises: SettingsError saying what is wrong in the file."""
    if path is None:
        return STAGEBLOOM
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


def event_type(catalog: Mapping[str, EventType], name: str) -> EventType:
    """The row of an event type. Raises: InvalidInput naming those that exist."""
    if not isinstance(name, str) or name not in catalog:
        raise InvalidInput.field("event_type", name, "one of " + ", ".join(sorted(catalog)))
    return catalog[name]
