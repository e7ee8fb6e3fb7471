"""Recording an event: everything is checked before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.errors import InvalidInput, TooLarge, UnknownGroup
from shared.events import EventDraft, record_event
from shared.models import NotificationEvent
from shared.settings import Settings
from shared.texts import fold
from tests.company import Company


@pytest.fixture
def rh(company: Company) -> Company:
    company.person("42", "role_rh")
    return company


def draft(**changes: Any) -> EventDraft:
    return EventDraft(**{"audience": ["role_rh"], "title": "Title", "message": "Message", **changes})


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def circular() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["self"] = found
    return found


WORDS = {"title": "T", "message": "M"}
BAD = [
    # field named, value given under which parameter, what the message must hold
    ("event_type", {"event_type": "stage_updated"}, "stage_update, survey"),
    ("event_type", {"event_type": None}, "one of"),
    ("event_type", {"event_type": ["system"]}, "one of"),
    ("event_type", {"event_type": {}}, "one of"),
    ("title", {"title": None}, "1 to 200 characters"),
    ("title", {"title": ""}, "got ''"),
    ("title", {"title": " \t\n"}, "1 to 200 characters"),
    ("title", {"title": 7}, "got 7"),
    ("title", {"title": ["T"]}, "1 to 200 characters"),
    ("title", {"title": "x" * 201}, "got 201 characters"),
    ("title", {"title": "a\x00b"}, "NUL"),
    ("title", {"title": "\ud83d"}, "surrogates"),
    ("title", {"title": "two\nlines"}, r"one line .* got U\+000A"),
    ("title", {"title": "a\x1b[2J"}, r"U\+001B"),
    ("title", {"title": "\u202egpj.exe"}, r"U\+202E RIGHT-TO-LEFT OVERRIDE"),
    ("title", {"title": "\u2067x"}, r"U\+2067 RIGHT-TO-LEFT ISOLATE"),
    ("title", {"title": "\u200b"}, "1 to 200"),
    ("message", {"message": None}, "1 to 4000 characters"),
    ("message", {"message": "x" * 4001}, "got 4001 characters"),
    ("message", {"message": "\udfff"}, "surrogates"),
    ("message", {"message": "a\x9bb"}, r"U\+009B"),
    ("message", {"message": "x\u202egpj.exe"}, r"U\+202E"),
    ("message", {"message": "&#7;x", "format": "rich"}, r"U\+0007"),
    ("texts.fr.title", {"title": None, "message": None, "texts": {"fr": {"title": "a\tb", "message": "M"}}}, r"U\+0009"),
    ("texts", {"texts": {"fr": WORDS}}, "not both|got both"),
    ("texts", {"title": None, "message": None, "texts": {}}, "languages"),
    ("texts", {"title": None, "message": None, "texts": []}, "languages"),
    ("texts", {"title": None, "message": None, "texts": {"français": WORDS}}, '"fr-CA"'),
    ("texts", {"title": None, "message": None, "texts": {None: WORDS}}, '"fr-CA"'),
    ("texts", {"title": None, "message": None, "texts": {f"x{n:07}": WORDS for n in range(51)}}, "at most 50"),
    ("texts.fr", {"title": None, "message": None, "texts": {"fr": "T"}}, "a title and a message"),
    ("texts.fr.title", {"title": None, "message": None, "texts": {"fr": {"message": "M"}}}, "1 to 200"),
    ("texts.en.message", {"title": None, "message": None, "texts": {"fr": WORDS, "en": {"title": "T", "message": ""}}}, "1 to 4000"),
    ("notification_type", {"notification_type": "danger"}, "info, success, warning, error"),
    ("notification_type", {"notification_type": ""}, "info, success"),
    ("notification_type", {"notification_type": ["info"]}, "info, success"),
    ("priority", {"priority": "urgent"}, "low, normal, high, critical"),
    ("priority", {"priority": None}, "low, normal"),
    ("category", {"category": ""}, "1 to 50"),
    ("category", {"category": "x" * 51}, "got 51 characters"),
    ("category", {"category": 7}, "1 to 50"),
    ("category", {"category": "A\nB"}, r"U\+000A"),
    ("data", {"data": None}, "a JSON object"),
    ("data", {"data": [1]}, "a JSON object"),
    ("data", {"data": "{}"}, "a JSON object"),
    ("data", {"data": {"a": float("nan")}}, "JSON can hold"),
    ("data", {"data": {"a": float("inf")}}, "JSON can hold"),
    ("data", {"data": {"a": object()}}, "JSON can hold"),
    ("data", {"data": {"a": b"bytes"}}, "JSON can hold"),
    ("data", {"data": {(1, 2): 3}}, "JSON can hold"),
    ("data", {"data": {"a": 10**5000}}, "JSON can hold"),
    ("data", {"data": circular()}, "JSON can hold"),
    ("data", {"data": {"a": deep(50)}}, "50 deep"),
    ("data", {"data": {"a": deep(100_000)}}, "JSON can hold|50 deep"),
    ("data", {"data": {"a": "x" * 16_384}}, "16384 bytes"),
    ("data", {"data": {"a": ["fine", "a\x00b"]}}, r"in data\.a\[1\]"),
    ("data", {"data": {"a\x00": 1}}, "NUL"),
    ("data", {"data": {"a": {"b": "\ud800"}}}, r"in data\.a\.b"),
    ("link", {"link": ""}, "1 to 2000"),
    ("link", {"link": 7}, "1 to 2000"),
    ("link", {"link": "/" + "x" * 2000}, "got 2001"),
    *(("link", {"link": link}, r"an http\(s\) address") for link in (
        "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x",
        "//evil.test", "/\\evil.test", "/\t/evil.test", "\\\\evil.test", "http:", "http://", "https:///path", "http:evil.test", "http://[::1",
        "ftp://a.test", "mailto:a@b.test", "evil.test", "?a=1", "#top", "http://a b.test",
    )),
    ("image", {"image": "javascript:alert(1)"}, r"an http\(s\) address"),
    ("image", {"image": "data:image/png;base64,AAAA"}, r"an http\(s\) address"),
    ("actions", {"actions": None}, "at most 5"),
    ("actions", {"actions": "ab"}, "at most 5"),
    ("actions", {"actions": {"label": "L", "link": "/"}}, "at most 5"),
    ("actions[0]", {"actions": ["x"]}, "at most 5"),
    ("actions[0]", {"actions": [{"label": "L"}]}, "label"),
    ("actions[0]", {"actions": [{"label": "L", "link": None}]}, "label"),
    ("actions[0]", {"actions": [{"label": "L", "link": "/", "onclick": "x"}]}, "label"),
    ("actions[0].link", {"actions": [{"label": "L", "link": "javascript:x"}]}, r"an http\(s\) address"),
    ("actions[1].label", {"actions": [{"label": "L", "link": "/"}, {"label": "x" * 81, "link": "/"}]}, "got 81"),
    ("actions[0].label", {"actions": [{"label": "\u202dL", "link": "/"}]}, r"U\+202D"),
    ("actions[5]", {"actions": [{"label": "L", "link": "/"}] * 6}, "at most 5"),
    ("thread_key", {"thread_key": ""}, "1 to 200"),
    ("thread_key", {"thread_key": "a\x00"}, "NUL"),
    ("thread_key", {"thread_key": "a\x1fb"}, r"U\+001F"),
    ("idempotency_key", {"idempotency_key": "a\x1bb"}, r"U\+001B"),
    ("source", {"source": "x" * 201}, "got 201"),
    ("source", {"source": 7}, "1 to 200"),
    ("source_user", {"source_user": "nobody"}, "known person"),
    ("source_user", {"source_user": "4\x002"}, "known person"),
    ("source_user", {"source_user": "\ud800"}, "known person"),
    ("source_user", {"source_user": {"id": 42}}, "known person"),
    ("idempotency_key", {"idempotency_key": ""}, "1 to 200"),
    ("idempotency_key", {"idempotency_key": "x" * 201}, "got 201"),
    ("idempotency_key", {"idempotency_key": 7}, "1 to 200"),
    ("audience", {"audience": []}, "at least one term"),
    ("audience", {"audience": ["role rh"]}, "got 'role rh'"),
    ("audience", {"audience": 7}, "list of terms"),
    ("audience", {"audience": "role_hr"}, "known groups, got role_hr"),
    ("exclude", {"exclude": ["a b"]}, "got 'a b'"),
    ("exclude", {"exclude": None}, "list of terms"),
    ("audience", {"exclude": ["user_43"]}, "user_43"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "changes", "message"), BAD, ids=[f"{n}-{row[0]}" for n, row in enumerate(BAD)])
def test_bad_input_is_named_and_nothing_is_stored(
    rh: Company, session: Session, field: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        record_event(session, draft(**changes))
    assert refused.value.details["field"] == field
    assert refused.value.message.startswith(field.split("[")[0].split(".")[0])
    assert refused.value.status == (413 if isinstance(refused.value, TooLarge) else 400)
    assert session.execute(text("SELECT 1")).scalar() == 1, "the caller's transaction is usable"
    session.commit()
    assert rh.count("notification_events") == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "x" * 200, "message": "é" * 4000},
        {"title": "\N{FAMILY}\u200d\N{GIRL}", "message": "العربية \u200f"},
        {"title": "'; DROP TABLE users; --", "message": '%s %(x)s {} :name \\ " \u2028'},
        {"message": "a\n\tb\n"},
        {"thread_key": "fil n\u00b0 7", "data": {"raw": "a\x1b\u202e\n"}},
        {"data": {"a": {"b": [1, 2.5, None, True, "\\u0000 as text", "é"]}, "": 0}},
        {"data": {"a": deep(48)}},
        {"data": {"big": 2**63, "huge": 10**300, "small": 1e-300}},
        {"link": "/stages/7?a=1&b=é#top"},
        {"link": "https://user@example.test:8443/a/../b?x=javascript:1"},
        {"link": "HTTP://EXAMPLE.TEST"},
        {"image": "/static/a.png", "thread_key": "stage-7", "priority": "critical", "category": "Mine"},
        {"actions": [{"label": "Voir", "link": "/a"}] * 5},
        {"source_user": "42"},
        {"source_user": 42},
    ],
)
def test_what_is_fine_is_stored_as_it_was_given(rh: Company, session: Session, changes: dict[str, Any]) -> None:
    event_id = record_event(session, draft(**changes)).id
    session.commit()
    session.expire_all()
    stored = session.get_one(NotificationEvent, event_id)
    assert stored.status == "pending"
    assert stored.texts == {
        "fr": {"title": changes.get("title", "Title"), "message": changes.get("message", "Message")}
    }
    for name in ("data", "link", "image", "actions", "thread_key", "priority", "category"):
        if name in changes:
            assert getattr(stored, name) == changes[name]


def test_texts_in_several_languages_stand_beside_each_other(rh: Company, session: Session) -> None:
    texts = {"fr": {"title": "Été", "message": "Ç"}, "en-GB": {"title": "Summer", "message": "C"}}
    event = record_event(session, draft(title=None, message=None, texts=texts))
    assert event.texts == texts
    assert event.search_text == "ete c summer c"


def test_title_and_message_are_in_the_default_language(rh: Company, session: Session, settings: Settings) -> None:
    english = settings.model_copy(update={"default_locale": "en"})
    assert set(record_event(session, draft(), english).texts) == {"en"}


def test_what_is_not_said_comes_from_the_catalogue(rh: Company, session: Session) -> None:
    rh.groups("stage_7")
    event = record_event(session, EventDraft(event_type="testimonial", data={"stage_id": 7}))
    assert (event.category, event.notification_type) == ("TESTIMONIAL", "success")
    assert event.audience == [["role_rh"], ["stage_7"]]
    assert set(event.texts) == {"fr", "en"}
    assert "7" in event.texts["fr"]["message"]


def test_the_catalogue_s_own_texts_are_held_to_the_same_lengths(
    rh: Company, session: Session, settings: Settings, tmp_path: Any
) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(
        '{"invoice": {"category": "BILLING", "audience": ["role_rh"], "texts": {"fr": {"title": "{number}", "message": "M"}}}}'
    )
    own = settings.model_copy(update={"catalog_file": path})
    assert record_event(session, EventDraft(event_type="invoice", data={"number": 7}), own).texts["fr"]["title"] == "7"
    with pytest.raises(TooLarge, match=r"texts\.fr\.title"):
        record_event(session, EventDraft(event_type="invoice", data={"number": "9" * 201}), own)


def test_what_the_data_hide_in_the_catalogue_s_words_is_left_out_and_costs_no_event(
    rh: Company, session: Session, settings: Settings, tmp_path: Any
) -> None:
    path = tmp_path / "catalog.json"
    path.write_text(
        '{"upload": {"category": "C", "audience": ["role_rh"], "texts": {"fr": {"title": "{file}", "message": "{file}"}}}}'
    )
    own = settings.model_copy(update={"catalog_file": path})
    name = "facture\n\u202egpj.exe\x07"
    event = record_event(session, EventDraft(event_type="upload", data={"file": name}), own)
    assert event.texts["fr"] == {"title": "facture gpj.exe", "message": "facture\n gpj.exe"}
    assert event.data == {"file": name}


def test_lines_of_a_message_end_in_one_way(rh: Company, session: Session) -> None:
    assert record_event(session, draft(message="a\r\nb")).texts["fr"]["message"] == "a\nb"


def test_an_unknown_role_is_refused_by_name(rh: Company, session: Session) -> None:
    with pytest.raises(UnknownGroup, match="role_hr"):
        record_event(session, draft(audience=["role_rh", "role_hr"]))


def test_the_error_s_value_is_cut_short() -> None:
    error = InvalidInput.field("title", "x" * 1_000_000, "less")
    assert len(error.message) < 200
    assert len(str(error.as_dict())) < 400


def test_a_text_is_folded_for_searching() -> None:
    assert fold("ÉLÈVE ça Straße Œ ﬁn İ") == "eleve ca strasse œ fin i"
