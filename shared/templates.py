"""The application's own words: a template per name and locale, in versions, used over the catalogue's texts.

A name is a row of the catalogue: `stage_update`, or `stage_update.completed` for one of its actions. A
version never changes once saved and is checked when it is; at most one is active, any can become it, so the
way back is always open. What is active is read in the transaction that records an event: a change holds from
the next event on, and an event keeps the words it was recorded with. A template that fails costs its event
nothing: the catalogue speaks instead. Nothing here commits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from shared.catalog import PLACEHOLDER, EventType, event_type, load_catalog
from shared.errors import InvalidInput, NotFound
from shared.models import FORMATS, NotificationTemplate
from shared.rich import PLAIN, RICH, clean_rich, rich_from_plain
from shared.sandbox import MAX_SOURCE, RenderError, check_source, render
from shared.settings import LOCALE, Settings, get_settings
from shared.texts import MAX_MESSAGE, MAX_TITLE, check_line, check_message, is_storable, refuse_in_name

CHANGE = "template.change"  # in the audit log
ACTION = "action"  # the key of an event's data that chooses a row
NAME = re.compile(r"[^.\x00-\x20\ud800-\udfff]{1,100}(\.[^\x00-\x20\ud800-\udfff]{1,100})?")
VARIABLE = re.compile(r"[A-Za-z]\w{0,99}", re.ASCII)
MAX_VARIABLES = 50
MAX_VERSION = 2**31 - 1  # PostgreSQL's integer
COUNTED_FAULTS = 10_000  # newest events with a failed template that are looked at: some 20 ms

Template = NotificationTemplate
FindActive = Callable[[str, EventType, Any], Mapping[str, Any]]  # (event_type, its row, action) → {locale: template}
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('template ' || :name || ' ' || :locale, 0))")
ACTIVE = select(
    Template.name, Template.locale, Template.version, Template.title, Template.message, Template.format
).where(Template.is_active)
FAULTS = text("""
    SELECT fault->>'name' AS name, fault->>'locale' AS locale, (fault->>'version')::integer AS version, count(*) AS faults
    FROM (SELECT template_faults FROM notification_events WHERE template_faults IS NOT NULL
          ORDER BY id DESC LIMIT :limit) AS newest
    CROSS JOIN LATERAL jsonb_array_elements(template_faults) AS fault
    GROUP BY 1, 2, 3
""")


@dataclass(kw_only=True, slots=True)
class TemplateDraft:
    """What someone writes: Jinja2 sources over the event's data.

    `format` is of the message: in a "rich" one the source is markup, and the data in it are text.
    `variables` are those of the data beyond the placeholders that the catalogue's row names.
    """

    name: str
    locale: str
    title: str
    message: str
    format: str = PLAIN
    variables: Iterable[str] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """A title and a message as readers get them. A title is always plain."""

    title: str
    message: str
    format: str = PLAIN


@dataclass(slots=True)
class Rendered:
    """What the active templates say about an event; those that failed say nothing."""

    words: dict[str, Words] = field(default_factory=dict)  # by locale
    faults: list[dict[str, Any]] = field(default_factory=list)  # name, locale, version, error


def save(
    session: Session, draft: TemplateDraft, *, created_by: int | None = None, settings: Settings | None = None
) -> NotificationTemplate:
    """Check a draft and keep it as the next version of its name and locale, not yet active.

    Two at once get a version each. Raises: InvalidInput naming the field, the line and the cause.
    """
    variables = check_draft(draft, settings)
    _lock(session, draft.name, draft.locale)
    newest = session.scalar(
        select(func.max(Template.version)).where(Template.name == draft.name, Template.locale == draft.locale)
    )
    saved = NotificationTemplate(
        name=draft.name, locale=draft.locale, version=(newest or 0) + 1, title=draft.title, message=draft.message,
        format=draft.format, variables=variables, is_active=False, created_by=created_by,
    )  # fmt: skip
    session.add(saved)
    session.flush()
    session.refresh(saved)
    return saved


def check_draft(draft: TemplateDraft, settings: Settings | None = None) -> list[str]:
    """Refuse what could not be rendered; the variables it declares. Raises: InvalidInput."""
    known = variables_of(draft.name, settings)
    check_locale(draft.locale)
    if draft.format not in FORMATS:
        raise InvalidInput.field("format", draft.format, "one of " + ", ".join(FORMATS))
    if isinstance(draft.variables, (str, Mapping)) or not isinstance(draft.variables, Iterable):
        raise InvalidInput.field("variables", draft.variables, "a list of names")
    declared = list(draft.variables)
    for variable in declared:
        if not isinstance(variable, str) or not VARIABLE.fullmatch(variable):
            raise InvalidInput.field("variables", variable, "names of letters, digits and _")
    if len(declared) > MAX_VARIABLES:
        raise InvalidInput.field("variables", len(declared), f"at most {MAX_VARIABLES}")
    for name in ("title", "message"):
        check_source(name, getattr(draft, name), {*known, *declared})
    check_line("title", " ".join(draft.title.split()), MAX_SOURCE)  # the source may have lines, what it says may not
    return sorted(set(declared))


def variables_of(name: Any, settings: Settings | None = None) -> set[str]:
    """What a template of this name may use without declaring it. Raises: InvalidInput for a name that is none."""
    row = _row_of(name, settings or get_settings())
    sources = [*row.audience, *(part for words in row.texts.values() for part in (words.title, words.message))]
    return {ACTION, *(name for source in sources for name in PLACEHOLDER.findall(source))}


def preview(draft: TemplateDraft, data: Mapping[str, Any], settings: Settings | None = None) -> Words:
    """What an event with these data would say; nothing is saved. Raises: InvalidInput, as `save` and for the data."""
    check_draft(draft, settings)
    try:
        return _render(draft, data)
    except RenderError as error:
        raise InvalidInput(str(error), field="data") from None


def activate(session: Session, name: str, locale: str, version: int) -> NotificationTemplate:
    """Use this version, and no other, for the events to come. Raises: NotFound."""
    _refuse_unheld(name, locale, version)
    _lock(session, name, locale)
    found = get(session, name, locale, version)
    if not found.is_active:
        deactivate(session, name, locale)
        found.is_active = True
        session.flush()
    return found


def deactivate(session: Session, name: str, locale: str) -> int | None:
    """Let the catalogue speak again; the version that was active, or None."""
    _refuse_unheld(name, locale)
    _lock(session, name, locale)
    none_active = update(Template).where(Template.name == name, Template.locale == locale, Template.is_active)
    version: int | None = session.scalar(none_active.values(is_active=False).returning(Template.version))
    return version


def get(session: Session, name: str, locale: str, version: int | None = None) -> NotificationTemplate:
    """One version; None: the active one, or else the newest. Raises: NotFound."""
    _refuse_unheld(name, locale, version)
    query = select(Template).where(Template.name == name, Template.locale == locale)
    query = query.order_by(Template.is_active.desc(), Template.version.desc()).limit(1)
    found = session.scalar(
        (query if version is None else query.where(Template.version == version)).execution_options(
            populate_existing=True
        )
    )
    if found is None:
        raise _not_found(name, locale, version)
    return found


def list_versions(session: Session, name: str, locale: str, limit: int = 100) -> list[NotificationTemplate]:
    """The newest versions of a name and locale, newest first. Raises: NotFound when there is none."""
    get(session, name, locale)
    query = select(Template).where(Template.name == name, Template.locale == locale)
    return list(session.scalars(query.order_by(Template.version.desc()).limit(limit)))


def list_templates(session: Session) -> list[dict[str, Any]]:
    """Every name and locale: its newest and its active version, and how many of the newest events it failed."""
    active = func.max(Template.version).filter(Template.is_active)
    rows = session.execute(
        select(Template.name, Template.locale, func.max(Template.version), active).group_by(
            Template.name, Template.locale
        )
    )
    faults: dict[tuple[str, str], int] = {}
    for name, locale, _, count in session.execute(FAULTS, {"limit": COUNTED_FAULTS}):
        faults[name, locale] = faults.get((name, locale), 0) + count
    return [
        {
            "name": name,
            "locale": locale,
            "newest_version": newest,
            "active_version": version,
            "faults": faults.get((name, locale), 0),
        }
        for name, locale, newest, version in sorted(rows, key=lambda row: (row.name, row.locale))
    ]


def as_json(template: NotificationTemplate) -> dict[str, Any]:
    """A version as the API and the command line show it."""
    shown = ("name", "locale", "version", "title", "message", "format", "variables", "is_active")
    return {
        **{name: getattr(template, name) for name in shown},
        "created_at": template.created_at.isoformat(timespec="seconds"),
    }


def find_active(session: Session, kind: str, row: EventType, action: Any) -> dict[str, Any]:
    """{locale: template}: the active ones that speak for an event's type and action."""
    names = _names_of(kind, row, action)
    found = session.execute(ACTIVE.where(Template.name.in_(names))).all()
    chosen: dict[str, Any] = {}
    for template in sorted(found, key=lambda template: names.index(template.name)):
        chosen.setdefault(template.locale, template)
    return chosen


def render_all(chosen: Mapping[str, Any], data: Mapping[str, Any]) -> Rendered:
    """What {locale: template} say about these data; whichever fails says nothing."""
    rendered = Rendered()
    for locale, template in sorted(chosen.items()):
        try:
            rendered.words[locale] = _render(template, data)
        except RenderError as error:
            fault = {"name": template.name, "locale": locale, "version": template.version, "error": str(error)[:300]}
            rendered.faults.append(fault)
    return rendered


def in_one_format(words: Mapping[str, Words]) -> tuple[dict[str, dict[str, str]], str]:
    """Texts by locale, and their format: an event has one. Plain words beside rich ones are shown as they are."""
    chosen = RICH if any(one.format == RICH for one in words.values()) else PLAIN
    texts = {
        locale: {"title": one.title, "message": one.message if one.format == chosen else rich_from_plain(one.message)}
        for locale, one in words.items()
    }
    return texts, chosen


def draft_of(template: NotificationTemplate) -> TemplateDraft:
    """A version as someone would write it."""
    return TemplateDraft(
        name=template.name, locale=template.locale, title=template.title, message=template.message,
        format=template.format, variables=template.variables,
    )  # fmt: skip


def check_locale(locale: Any) -> str:
    """The locale itself. Raises: InvalidInput."""
    if not isinstance(locale, str) or not re.fullmatch(LOCALE, locale):
        raise InvalidInput.field("locale", locale, 'a language such as "fr" or "fr-CA"')
    return locale


def _refuse_unheld(name: str, locale: str, version: int | None = None) -> None:
    """Raises: NotFound for what PostgreSQL could not even be asked for."""
    if not is_storable(name + locale) or abs(version or 0) > MAX_VERSION:
        raise _not_found(name, locale, version)


def _not_found(name: str, locale: str, version: int | None) -> NotFound:
    what = f"{name}/{locale}" + ("" if version is None else f" version {version}")
    return NotFound(f"template: there is no {what}", field="template", value=what)


def _lock(session: Session, name: str, locale: str) -> None:
    """One change of a name and locale at a time, also of one that has no row yet."""
    session.execute(LOCK, {"name": name, "locale": locale})


def _row_of(name: Any, settings: Settings) -> EventType:
    """The catalogue's row of a template's name. Raises: InvalidInput when there is no such event_type."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidInput.field("name", name, 'an event_type or "event_type.action"')
    refuse_in_name("name", name)
    kind, _, action = name.partition(".")
    try:
        return event_type(load_catalog(settings.catalog_file), kind, action)
    except InvalidInput as error:
        raise InvalidInput.field("name", name, f"{error.details['expected']}, alone or with .action") from None


def _names_of(kind: str, row: EventType, action: Any) -> Sequence[str]:
    """The names that speak for an event, the more specific one first.

    An action with texts of its own in the catalogue is not spoken for by its event_type's template.
    """
    if not isinstance(action, str) or not action:
        return [kind]
    own = row.actions.get(action)
    return [f"{kind}.{action}"] if own is not None and own.texts is not None else [f"{kind}.{action}", kind]


def _render(template: Any, data: Mapping[str, Any]) -> Words:
    """Raises: RenderError naming the part, also for words that are empty or too long."""
    is_rich = template.format == RICH
    parts = {}
    for name, check, longest in (("title", check_line, MAX_TITLE), ("message", check_message, MAX_MESSAGE)):
        try:
            escapes = is_rich and name == "message"
            words = check(name, render(getattr(template, name), data, longest, escapes=escapes), longest)
            parts[name] = clean_rich(name, words) if escapes else words
        except RenderError as error:
            raise RenderError(f"{name}: {error}") from None
        except InvalidInput as error:
            character = error.details.get("character")
            got = "" if character is None else f", got {character}"
            raise RenderError(f"{name}: expected {error.details['expected']}{got}") from None
    return Words(parts["title"], parts["message"], template.format)
