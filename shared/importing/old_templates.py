"""A template of the earlier system in the syntax of ours: from Django's `{{ name }}` or Python's `{name}`.

Which of the two it is, its title and message say together. What the two have in common with Jinja2 stays as
it is, and `shared.templates` decides what a template can do; nothing is guessed.
"""

from __future__ import annotations

import re
from typing import Any

from shared.errors import InvalidInput
from shared.importing.rules import Refused, Rules
from shared.importing.values import NO_TEXT, text_of
from shared.sandbox import variables_of
from shared.settings import Settings
from shared.templates import TemplateDraft, check_draft
from shared.templates import variables_of as variables_of_name

OF_DJANGO = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
# Django's filters take their argument after a colon. Texts in quotes are passed over.
ARGUMENT = re.compile(r"""("[^"]*"|'[^']*')|\|\s*(\w+)\s*:\s*("[^"]*"|'[^']*'|[\w.]+)""")
DEFAULT = "default"  # Django's stands in for whatever is empty, Jinja2's for what is missing, unless told otherwise
BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
FIELD = re.compile(r"([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*|\[\w+\])*)", re.ASCII)
KEY = re.compile(r"\[(\w+)\]")
OF_PERCENT = re.compile(r"%\(\w+\)[sdif]")
NO_VARIABLES = {"forloop", "block", "request"}  # Django's own, not of an event's data


def read_template(row: Any, rules: Rules, settings: Settings) -> TemplateDraft:
    """A draft that can be saved, in the default locale. Raises: Refused naming part, line and cause."""
    name, title, message = (text_of(value) for value in (row.name, row.title, row.message))
    if name is None or title is None or message is None:
        raise Refused(f"template: name, title or message is {NO_TEXT}")
    name = rules.templates.get(name.strip(), name.strip().lower())
    try:
        known = variables_of_name(name, settings)
    except InvalidInput as error:
        raise Refused(f"template: {error.message} (see --template)") from None
    if OF_DJANGO.search(title) or OF_DJANGO.search(message):
        title, message = _from_django("title", title), _from_django("message", message)
    else:
        title, message = _from_format("title", title), _from_format("message", message)
    try:
        used = variables_of("title", title) | variables_of("message", message)
        draft = TemplateDraft(
            name=name,
            locale=settings.default_locale,
            title=title,
            message=message,
            variables=sorted(used - known - NO_VARIABLES),
        )
        check_draft(draft, settings)
    except InvalidInput as error:
        raise Refused(f"template: {error.message}") from None
    return draft


def _from_django(part: str, source: str) -> str:
    """Between the tags stands text; in them, only arguments of filters are written otherwise."""
    for found in re.finditer(r"\{\w+\}", OF_DJANGO.sub(lambda tag: "\0" * len(tag[0]), source)):
        raise _fault(part, source, found.start(), f"{found[0]} beside {{{{ }}}}: which of them is filled in?")
    return OF_DJANGO.sub(lambda tag: ARGUMENT.sub(_with_argument, tag[0]), source)


def _with_argument(found: re.Match[str]) -> str:
    if found[1] is not None:
        return found[1]
    return f"|{found[2]}({found[3]}{', true' if found[2] == DEFAULT else ''})"


def _from_format(part: str, source: str) -> str:
    for found in OF_PERCENT.finditer(source):
        raise _fault(part, source, found.start(), f"{found[0]}: expected placeholders such as {{name}}")

    def translated(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return f"{{{{ '{found[0][0]}' }}}}"
        named = None if found[1] is None else FIELD.fullmatch(found[1])
        if named is None:
            raise _fault(part, source, found.start(), f"{found[0]}: expected placeholders such as {{name}}")
        keys = KEY.sub(lambda key: key[0] if key[1].isdigit() else f"['{key[1]}']", named[2])
        return f"{{{{ {named[1]}{keys} }}}}"

    return BRACES.sub(translated, source)


def _fault(part: str, source: str, place: int, cause: str) -> Refused:
    line = source.count("\n", 0, place) + 1
    return Refused(f"template: {part}: line {line}: {cause}")
