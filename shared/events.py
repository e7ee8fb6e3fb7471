"""Step ①: what happened, checked and recorded in the transaction of whoever says so.

Everything is checked before anything is written: a refused event leaves no trace. An idempotency key
makes recording repeatable: the same key with the same content is the first event again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from shared import templates
from shared.audience import Audience, AudienceLike, Term, parse_audience, refuse_unknown
from shared.catalog import event_type as find_event_type
from shared.catalog import load_catalog
from shared.errors import Conflict, InvalidInput, TooLarge, Unavailable
from shared.logs import get_logger
from shared.models import FORMATS, NOTIFICATION_TYPES, PRIORITIES, NotificationEvent, User
from shared.rich import PLAIN, RICH, clean_rich, plain_text
from shared.settings import LOCALE, Settings, get_settings
from shared.texts import MAX_TITLE, check_line, check_message, check_text, is_storable, is_web_link, one_line, readable
from shared.texts import fold as fold  # noqa: PLC0414  # known by this name to others, too

MAX_DATA_BYTES = 16_384  # of JSON: a frame stays far below a connection's buffer
MAX_LINK = 2000  # characters
MAX_KEY = 200  # characters
MAX_DATA_DEPTH = 50  # json's own limit depends on the caller's stack: a worker's may be deeper
MAX_LOCALES = 50
MAX_ACTIONS = 5
KEY_WAIT_MILLISECONDS = 1000  # for another transaction that holds the same key

LOCK_NOT_AVAILABLE = "55P03"
SERIALIZATION_FAILURE = "40001"
DEADLOCK = "40P01"

INSERT = insert(NotificationEvent).returning(NotificationEvent)
INSERT_ONCE = (
    insert(NotificationEvent)
    .on_conflict_do_nothing(index_elements=["source", "idempotency_key"])
    .returning(NotificationEvent)
)


log = get_logger("events")


@dataclass(kw_only=True, slots=True)
class EventDraft:
    """What the caller says. What is None comes from the catalogue's row of `event_type` and `data["action"]`.

    `texts` is {locale: {"title", "message"}}; `title` and `message` are its short form in the default
    language. `audience` and `exclude` are terms as strings or objects. `source_user` and the people in
    terms are named by the application's own ids. `format` is that of the messages given here: "plain", or
    "rich" for the HTML that `shared.rich` allows; templates have their own.
    """

    event_type: str = "system"
    audience: AudienceLike | None = None
    exclude: Iterable[str | Term] = ()
    title: str | None = None
    message: str | None = None
    texts: Mapping[str, Mapping[str, str]] | None = None
    notification_type: str | None = None
    category: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    link: str | None = None
    image: str | None = None
    actions: Iterable[Mapping[str, str]] = ()
    thread_key: str | None = None
    priority: str = "normal"
    source_user: str | int | None = None
    source: str = ""
    idempotency_key: str | None = None
    format: str = PLAIN


def record_event(session: Session, draft: EventDraft, settings: Settings | None = None) -> NotificationEvent:
    """Check the draft and insert it as a pending event in the session's transaction.

    Returns: the event, or the first one that came with the same source and idempotency key.
    Raises: InvalidInput and its kinds, naming field, value and what was expected; Conflict when the key
    came with other content; Unavailable (retryable) when another transaction holds the key for over 1 s.
    """
    settings = settings or get_settings()
    values, audience = check_draft(draft, settings)
    refuse_unknown(session, audience)
    values["source_user_id"] = source_users(session, [draft]).get(str(draft.source_user))
    put_into_words(values, partial(templates.find_active, session), settings)
    event = session.scalars(INSERT, values).one() if draft.idempotency_key is None else _record_once(session, values)
    log_faults(event.id, event.template_faults)
    return event


def is_repeated(session: Session, event: NotificationEvent) -> bool:
    """Whether `record_event` found this event recorded before, in another transaction, by its idempotency key."""
    # `created_at` is when the transaction that made it began: another one's, if the key was known.
    return bool(event.created_at != session.scalar(select(func.now())))


def put_into_words(values: dict[str, Any], find_active: templates.FindActive, settings: Settings) -> None:
    """Add what the event says when its caller says nothing, and what is searched.

    The active templates speak, and the catalogue where none is or it fails.
    """
    if not values["texts"]:
        event_type, data = values["event_type"], values["data"]
        row = find_event_type(load_catalog(settings.catalog_file), event_type, data.get("action"))
        rendered = templates.render_all(find_active(event_type, row, data.get("action")), data)
        of_catalog = _checked_texts(_readable(row.texts_for(data, but=rendered.words)))
        words = {locale: templates.Words(**words) for locale, words in of_catalog.items()}
        values["texts"], values["format"] = templates.in_one_format({**words, **rendered.words})
        values["template_faults"] = rendered.faults or None
    values["search_text"] = _search_text(values["texts"], values["format"])


def log_faults(event_id: int, faults: Iterable[Mapping[str, Any]] | None) -> None:
    """Say which templates failed; the catalogue spoke instead."""
    for fault in faults or ():
        log.warning("template_failed", event_id=event_id, **{key: fault[key] for key in ("name", "locale", "version")})


def _readable(texts: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """The catalogue's words without what the data have in them that no text may have: a file's name costs no event."""
    return {
        locale: {"title": one_line(words["title"]), "message": readable(words["message"])}
        for locale, words in texts.items()
    }


def _search_text(texts: Mapping[str, Mapping[str, str]], text_format: str) -> str:
    """What is searched: the words, not the markup."""
    read = plain_text if text_format == RICH else str
    return fold(" ".join(f"{words['title']} {read(words['message'])}" for words in texts.values()))


def check_draft(draft: EventDraft, settings: Settings) -> tuple[dict[str, Any], Audience]:
    """The column values of a draft, and its audience. Nothing is asked of the database."""
    data = check_data(draft.data)
    row = find_event_type(load_catalog(settings.catalog_file), draft.event_type, data.get("action"))
    audience = parse_audience(row.audience_for(data) if draft.audience is None else draft.audience, draft.exclude)
    values: dict[str, Any] = {
        "event_type": draft.event_type,
        "category": check_line("category", row.category if draft.category is None else draft.category, 50),
        "notification_type": _one_of(
            "notification_type",
            row.notification_type_for(data) if draft.notification_type is None else draft.notification_type,
            NOTIFICATION_TYPES,
        ),
        "texts": _texts(draft, settings),
        "format": _one_of("format", draft.format, FORMATS),
        "data": data,
        "link": _link("link", draft.link),
        "image": _link("image", draft.image),
        "actions": _actions(draft.actions),
        "thread_key": None if draft.thread_key is None else check_line("thread_key", draft.thread_key, MAX_KEY),
        "priority": _one_of("priority", draft.priority, PRIORITIES),
        "audience": [list(term.groups) for term in audience.terms],
        "exclude": list(audience.exclude),
        "source": check_text("source", draft.source, MAX_KEY) if draft.source else "",
    }
    values["content_hash"] = _content_hash(values, draft.source_user)
    values["idempotency_key"] = (
        None if draft.idempotency_key is None else check_line("idempotency_key", draft.idempotency_key, MAX_KEY)
    )
    values["template_faults"] = None
    return values, audience


def _content_hash(values: Mapping[str, Any], source_user: object) -> str:
    """Equal for what says the same. Terms are sorted: those of a set come in any order."""
    said = {**values, "audience": sorted(values["audience"]), "exclude": sorted(values["exclude"])}
    canonical = json.dumps([said, str(source_user)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _texts(draft: EventDraft, settings: Settings) -> dict[str, dict[str, str]]:
    """The caller's own texts; empty when they gave none."""
    if draft.texts is not None:
        if draft.title is not None or draft.message is not None:
            raise InvalidInput("texts: expected either texts or title and message, got both", field="texts")
        if not isinstance(draft.texts, Mapping) or not 1 <= len(draft.texts) <= MAX_LOCALES:
            raise InvalidInput.field(
                "texts", draft.texts, f'{{"fr": {{"title": …, "message": …}}, …}} in at most {MAX_LOCALES} languages'
            )
        return _checked_texts(draft.texts, draft.format)
    if draft.title is None and draft.message is None:
        return {}
    return {settings.default_locale: _words("", {"title": draft.title, "message": draft.message}, draft.format)}


def _checked_texts(texts: Mapping[Any, Any], text_format: str = PLAIN) -> dict[str, dict[str, str]]:
    for locale in texts:
        if not isinstance(locale, str) or not re.fullmatch(LOCALE, locale):
            raise InvalidInput.field("texts", locale, 'languages such as "fr" or "fr-CA"')
    return {locale: _words(f"texts.{locale}.", words, text_format) for locale, words in texts.items()}


def _words(prefix: str, words: Any, text_format: str) -> dict[str, str]:
    if not isinstance(words, Mapping):
        raise InvalidInput.field(prefix.rstrip("."), words, "a title and a message")
    title = check_line(prefix + "title", words.get("title"), MAX_TITLE)
    message = check_message(prefix + "message", words.get("message"))
    return {"title": title, "message": clean_rich(prefix + "message", message) if text_format == RICH else message}


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    if value not in known:
        raise InvalidInput.field(name, value, "one of " + ", ".join(known))
    return str(value)


def check_data(data: Any) -> dict[str, Any]:
    """An event's data as they are stored. Raises: InvalidInput for what is no JSON object or too deep; TooLarge."""
    if not isinstance(data, Mapping):
        raise InvalidInput.field("data", data, "a JSON object")
    try:
        encoded = json.dumps(dict(data), allow_nan=False, ensure_ascii=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"data: expected values that JSON can hold: {error}", field="data") from None
    if len(encoded) > MAX_DATA_BYTES:
        raise TooLarge(
            f"data: expected at most {MAX_DATA_BYTES} bytes of JSON, got {len(encoded)}",
            field="data",
            length=len(encoded),
        )
    decoded: dict[str, Any] = json.loads(encoded)
    _check_within("data", decoded, 1)
    return decoded


def _check_within(place: str, value: Any, depth: int) -> None:
    """Every text in a JSON value can be stored, and no value stands too deep."""
    if depth > MAX_DATA_DEPTH:
        raise InvalidInput(f"data: expected lists and objects at most {MAX_DATA_DEPTH} deep", field="data")
    if isinstance(value, str) and not is_storable(value):
        expected = "Unicode text without NUL and lone surrogates"
        raise InvalidInput(f"data: expected {expected}, got {value[:50]!r} in {place}", field="data", expected=expected)
    if isinstance(value, list):
        for n, item in enumerate(value):
            _check_within(f"{place}[{n}]", item, depth + 1)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_within(place, key, depth)
            _check_within(f"{place}.{key}", item, depth + 1)


def _link(name: str, value: Any) -> str | None:
    if value is None:
        return None
    checked = check_text(name, value, MAX_LINK)
    if not is_web_link(checked):
        raise InvalidInput.field(name, value, "an http(s) address or a path that starts with one /")
    return checked


def _actions(actions: Any) -> list[dict[str, str]]:
    expected = f'at most {MAX_ACTIONS} of {{"label": …, "link": …}}'
    if isinstance(actions, (str, Mapping)) or not isinstance(actions, Iterable):
        raise InvalidInput.field("actions", actions, expected)
    checked = []
    for n, action in enumerate(actions):
        if (
            n >= MAX_ACTIONS
            or not isinstance(action, Mapping)
            or set(action) != {"label", "link"}
            or action["link"] is None
        ):
            raise InvalidInput.field(f"actions[{n}]", action, expected)
        link = _link(f"actions[{n}].link", action["link"])
        checked.append({"label": check_line(f"actions[{n}].label", action["label"], 80), "link": str(link)})
    return checked


def source_users(session: Session, drafts: Iterable[EventDraft]) -> dict[str, int]:
    """{who caused these events, as a text: our id}. Raises: InvalidInput naming who is not known."""
    named = {str(draft.source_user): draft.source_user for draft in drafts if draft.source_user is not None}
    storable = [name for name in named if is_storable(name)]
    query = select(User.external_id, User.id).where(User.external_id.in_(storable)).order_by(User.id)
    query = query.with_for_update(read=True, key_share=True)  # known until the end, as in `refuse_unknown`
    known = {row.external_id: row.id for row in session.execute(query)} if storable else {}
    for name, value in named.items():
        if name not in known:
            raise InvalidInput.field("source_user", value, "the id of a known person")
    return known


def _record_once(session: Session, values: dict[str, Any]) -> NotificationEvent:
    """Insert unless the key is there. In a savepoint: a refusal leaves the caller's transaction usable."""
    source, key = values["source"], values["idempotency_key"]
    with waiting_briefly(session, key):
        made: NotificationEvent | None = session.scalars(INSERT_ONCE, values).one_or_none()
    if made is not None:
        return made
    first = session.scalars(select(NotificationEvent).filter_by(source=source, idempotency_key=key)).one_or_none()
    if first is None:  # committed after this transaction's snapshot, or rolled back just now
        raise key_is_busy(key)
    refuse_other_content(key, values["content_hash"], first.id, first.content_hash)
    return first


@contextmanager
def waiting_briefly(session: Session, key: str) -> Iterator[None]:
    """A savepoint that waits for nobody's key for long. Raises: Unavailable (retryable)."""
    try:
        with session.begin_nested():
            before = session.scalar(text("SELECT current_setting('lock_timeout')"))
            _set_lock_timeout(session, f"{KEY_WAIT_MILLISECONDS}ms")
            yield
            _set_lock_timeout(session, before)
    except OperationalError as error:
        if getattr(error.orig, "pgcode", None) in (LOCK_NOT_AVAILABLE, SERIALIZATION_FAILURE, DEADLOCK):
            raise key_is_busy(key) from error
        raise


def refuse_other_content(key: str, content_hash: str, first_id: int, first_hash: str) -> None:
    """Raises: Conflict when the first event with this key says something else."""
    if content_hash != first_hash:
        raise Conflict(
            f"idempotency_key: {key!r} was used with other content by event {first_id}",
            field="idempotency_key",
            event_id=first_id,
        )


def _set_lock_timeout(session: Session, value: Any) -> None:
    session.execute(text("SELECT set_config('lock_timeout', :value, true)"), {"value": value})


def key_is_busy(key: str) -> Unavailable:
    """Whoever sends it again gets the event that is being recorded."""
    return Unavailable(f"idempotency_key: another transaction is recording {key!r}; try again", field="idempotency_key")
