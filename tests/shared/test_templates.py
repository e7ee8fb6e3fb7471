"""Templates: checked when saved, one active at most, and an event never pays for a bad one."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from shared import templates
from shared.database import transaction
from shared.errors import Conflict, InvalidInput, NotFound, TooLarge
from shared.events import EventDraft, record_event
from shared.models import NotificationEvent, NotificationTemplate
from shared.settings import Settings
from shared.templates import TemplateDraft
from tests.company import Company

NAME = "stage_update"
ATTACK = "<script>alert(1)</script>"


def draft(**changes: Any) -> TemplateDraft:
    return TemplateDraft(
        **{"name": NAME, "locale": "fr", "title": "Stage {{ stage_id }}", "message": "Bonjour", **changes}
    )


def use(session: Session, **changes: Any) -> NotificationTemplate:
    """Save and activate."""
    saved = templates.save(session, draft(**changes))
    return templates.activate(session, saved.name, saved.locale, saved.version)


@pytest.fixture
def session(session: Session, company: Company) -> Session:
    """One with a stage that events can be about."""
    company.person("42", "stage_7", "role_rh")
    return session


def happened(session: Session, data: dict[str, Any] | None = None, **changes: Any) -> NotificationEvent:
    return record_event(
        session,
        EventDraft(**{"event_type": NAME, "audience": ["stage_7"], "data": {"stage_id": 7, **(data or {})}, **changes}),
    )


def test_each_save_is_the_next_version_and_none_is_active(session: Session) -> None:
    versions = [templates.save(session, draft(message=f"M{n}")).version for n in range(3)]
    assert versions == [1, 2, 3]
    assert templates.save(session, draft(locale="en")).version == 1
    assert [one.message for one in templates.list_versions(session, NAME, "fr")] == ["M2", "M1", "M0"]
    assert happened(session).texts["fr"]["title"] == "Stage mis à jour"


def test_two_saves_at_once_get_a_version_each(company: Company, settings: Settings) -> None:
    def save() -> None:
        with transaction(settings) as session:
            barrier.wait()
            templates.save(session, draft())

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=save) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    with transaction(settings) as session:
        assert sorted(session.scalars(select(NotificationTemplate.version))) == [1, 2, 3, 4]


def test_two_activations_at_once_leave_one_active(company: Company, settings: Settings) -> None:
    with transaction(settings) as session:
        for _ in range(4):
            templates.save(session, draft())

    def activate(version: int) -> None:
        with transaction(settings) as session:
            barrier.wait()
            templates.activate(session, NAME, "fr", version)

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=activate, args=(n + 1,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    with transaction(settings) as session:
        assert (
            len(session.scalars(select(NotificationTemplate.version).where(NotificationTemplate.is_active)).all()) == 1
        )


def test_the_table_itself_lets_no_two_be_active(session: Session) -> None:
    use(session)
    templates.save(session, draft())
    with pytest.raises(IntegrityError):
        session.execute(text("UPDATE notification_templates SET is_active = true"))


def test_a_change_holds_from_the_next_event_on_and_there_is_a_way_back(session: Session) -> None:
    use(session, message="un")
    first = happened(session)
    use(session, message="deux")
    second = happened(session)
    templates.activate(session, NAME, "fr", 1)
    third = happened(session)
    assert templates.deactivate(session, NAME, "fr") == 1
    assert templates.deactivate(session, NAME, "fr") is None
    fourth = happened(session)
    messages = [event.texts["fr"]["message"] for event in (first, second, third, fourth)]
    assert messages == ["un", "deux", "un", "Le stage 7 a été mis à jour."]


def test_another_process_s_change_is_seen_by_a_long_transaction_s_next_event(
    company: Company, settings: Settings, session: Session
) -> None:
    assert happened(session).texts["fr"]["title"] == "Stage mis à jour"
    with transaction(settings) as other:
        use(other)
    assert happened(session).texts["fr"]["title"] == "Stage 7"


def test_locales_without_a_template_have_the_catalogue_s_words_and_new_ones_are_added(session: Session) -> None:
    use(session)
    use(session, locale="ar", title="تدريب {{ stage_id }}", message="مرحبا 🎉")
    texts = happened(session).texts
    assert texts["fr"]["title"] == "Stage 7"
    assert texts["en"]["title"] == "Internship updated"
    assert texts["ar"] == {"title": "تدريب 7", "message": "مرحبا 🎉"}


def test_the_caller_s_own_words_are_never_replaced(session: Session) -> None:
    use(session)
    assert happened(session, title="T", message="M").texts == {"fr": {"title": "T", "message": "M"}}
    assert set(happened(session, texts={"en": {"title": "T", "message": "{{ stage_id }}"}}).texts) == {"en"}


def test_an_action_s_template_goes_before_that_of_its_event_type(session: Session) -> None:
    use(session, name="stage_update.reviewed", title="Relu {{ action }}")
    use(session, title="Autre {{ action|default('rien') }}")
    assert happened(session, {"action": "reviewed"}).texts["fr"]["title"] == "Relu reviewed"
    assert happened(session, {"action": "unheard"}).texts["fr"]["title"] == "Autre unheard"
    assert happened(session).texts["fr"]["title"] == "Autre rien"
    assert (
        happened(session, {"action": ["x"]}, notification_type="info").texts["fr"]["title"].startswith("Stage mis")
    ), "a list can't be shown"


def test_an_action_that_the_catalogue_speaks_for_is_not_spoken_for_by_its_event_type(session: Session) -> None:
    before = happened(session, {"action": "completed"}).texts
    use(session, title="Autre")
    assert happened(session, {"action": "completed"}).texts == before
    use(session, name="stage_update.completed", title="Fini")
    assert happened(session, {"action": "completed"}).texts["fr"]["title"] == "Fini"


def test_data_missing_for_the_catalogue_s_words_do_not_matter_where_a_template_speaks(session: Session) -> None:
    for locale in ("fr", "en"):
        use(session, locale=locale, title="Sans numéro")
    event = record_event(session, EventDraft(event_type=NAME, audience=["stage_7"]))
    assert event.texts["en"]["title"] == "Sans numéro"
    templates.deactivate(session, NAME, "en")
    with pytest.raises(InvalidInput, match=r"data\.stage_id"):
        record_event(session, EventDraft(event_type=NAME, audience=["stage_7"]))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"title": "{{ detail }}"}, "title: line 1: 'detail' is undefined"),
        ({"message": "a\n{{ detail.more }}"}, "message: line 2: 'detail' is undefined"),
        ({"title": "{{ stage_id }}" * 201}, "title: line 1: the text grew too long"),
        ({"message": "{% if false %}x{% endif %}"}, "message: expected a text of 1 to 4000 characters"),
        ({"message": "{% for one in stage_id %}{% endfor %}"}, "message: line 1: a loop goes over a list"),
        ({"message": "<script>{{ stage_id }}</script>", "format": "rich"}, "message: expected text in the elements"),
        ({"title": "a{% if true %}\nb{% endif %}"}, "title: expected one line without control characters, got U+000A"),
        ({"title": "{{ hidden }}"}, "title: expected one line without control characters, got U+202E"),
        ({"message": "{{ hidden }}"}, "message: expected a text without control characters"),
        ({"message": "<b>{{ hidden }}</b>", "format": "rich"}, "message: expected a text without control characters"),
    ],
)
def test_a_template_that_fails_costs_the_event_nothing(session: Session, changes: dict[str, Any], error: str) -> None:
    use(session, variables=["detail", "hidden"], **changes)
    use(session, locale="en", title="Fine")
    with capture_logs() as lines:
        event = happened(session, {"hidden": "\u202egpj.exe"})
    assert event.texts["fr"] == {"title": "Stage mis à jour", "message": "Le stage 7 a été mis à jour."}
    assert event.texts["en"]["title"] == "Fine"
    assert [(fault["name"], fault["locale"], fault["version"]) for fault in event.template_faults or []] == [
        (NAME, "fr", 1)
    ]
    assert (event.template_faults or [])[0]["error"].startswith(error)
    assert [line for line in lines if line["event"] == "template_failed"] == [
        {
            "event": "template_failed",
            "log_level": "warning",
            "event_id": event.id,
            "name": NAME,
            "locale": "fr",
            "version": 1,
        }
    ]


def test_faults_are_counted_for_each_name_and_locale(session: Session) -> None:
    use(session, title="{{ detail }}", variables=["detail"])
    use(session, locale="en")
    for _ in range(3):
        happened(session)
    happened(session, {"detail": "d"})
    assert templates.list_templates(session) == [
        {"name": NAME, "locale": "en", "newest_version": 1, "active_version": 1, "faults": 0},
        {"name": NAME, "locale": "fr", "newest_version": 1, "active_version": 1, "faults": 3},
    ]


def test_a_template_changed_between_two_tries_of_a_key_is_no_conflict(session: Session) -> None:
    first = happened(session, idempotency_key="k")
    use(session)
    assert happened(session, idempotency_key="k").id == first.id
    with pytest.raises(Conflict):
        happened(session, {"other": 1}, idempotency_key="k")


@pytest.mark.parametrize("attack", [ATTACK, "{{ 7 * 7 }}", "{% for one in x %}", "<b>x</b>", "&amp;", "\u200fx"])
def test_data_are_shown_as_text_never_as_a_template_or_markup(session: Session, attack: str) -> None:
    use(session, message="De {{ who }}", variables=["who"])
    plain = happened(session, {"who": attack})
    assert (plain.format, plain.texts["fr"]["message"]) == ("plain", f"De {attack}")
    use(session, message="<p>De <b>{{ who }}</b></p>", variables=["who"], format="rich", title="{{ who }}")
    rich = happened(session, {"who": attack})
    assert rich.format == "rich"
    assert rich.texts["fr"]["title"] == attack
    escaped = attack.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert rich.texts["fr"]["message"] == f"<p>De <b>{escaped}</b></p>"


def test_plain_words_beside_rich_ones_are_shown_as_they_are(session: Session, settings: Settings) -> None:
    use(session, format="rich", message="<b>Bonjour</b>")
    use(session, locale="de", message="1 < 2\n& {{ who }}", variables=["who"])
    event = happened(session, {"who": ATTACK})
    assert event.format == "rich"
    assert event.texts["fr"]["message"] == "<b>Bonjour</b>"
    assert event.texts["de"]["message"] == "1 &lt; 2<br>&amp; &lt;script&gt;alert(1)&lt;/script&gt;"
    assert event.texts["en"]["message"] == "Internship 7 was updated."
    assert "bonjour" in event.search_text
    assert "<b>" not in event.search_text


def test_the_caller_s_rich_message_is_cleaned_and_its_title_stays_text(session: Session) -> None:
    event = happened(
        session, title="<b>T</b>", message=f"<p onclick=x>a {ATTACK}<a href='javascript:x'>b</a></p>", format="rich"
    )
    assert event.format == "rich"
    assert event.texts == {"fr": {"title": "<b>T</b>", "message": "<p>a <a>b</a></p>"}}
    assert event.search_text == "<b>t</b> a b"
    plain = happened(session, title="T", message=f"<b>{ATTACK}</b>")
    assert (plain.format, plain.texts["fr"]["message"]) == ("plain", f"<b>{ATTACK}</b>")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"format": "html"}, "format"), ({"format": None}, "format"), ({"format": "rich", "message": ATTACK}, "message")],
)
def test_a_format_or_a_rich_message_that_is_none_is_refused(
    session: Session, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        happened(session, **{"title": "T", "message": "M", **changes})
    assert refused.value.details["field"] == field


@pytest.mark.parametrize(
    ("changes", "field", "cause"),
    [
        ({"name": "stage"}, "name", "one of "),
        ({"name": "stage_update."}, "name", 'an event_type or "event_type.action"'),
        ({"name": "stage_update.a b"}, "name", "event_type"),
        ({"name": 7}, "name", "event_type"),
        ({"locale": "français"}, "locale", "fr-CA"),
        ({"locale": None}, "locale", "fr-CA"),
        ({"format": "html"}, "format", "plain, rich"),
        ({"title": ""}, "title", "1 to 8000"),
        ({"message": None}, "message", "1 to 8000"),
        (
            {"message": "a\n{{ stage_idd }}"},
            "message",
            "line 2: unknown variable 'stage_idd'; known are: action, stage_id",
        ),
        ({"title": "{% if %}"}, "title", "line 1: "),
        ({"title": "a\x07"}, "title", "U+0007"),
        ({"title": "a\u2066b"}, "title", "U+2066"),
        ({"message": "a\u202eb"}, "message", "U+202E"),
        ({"title": "{{ ''.__class__.__mro__ }}"}, "title", "line 1: '__mro__' can't be reached"),
        ({"variables": "stage"}, "variables", "a list of names"),
        ({"variables": ["a.b"]}, "variables", "letters, digits"),
        ({"variables": ["_x"]}, "variables", "letters, digits"),
        ({"variables": [7]}, "variables", "letters, digits"),
        ({"variables": [f"v{n}" for n in range(51)]}, "variables", "at most 50"),
    ],
)
def test_a_draft_at_fault_is_refused_by_field_and_leaves_nothing(
    session: Session, changes: dict[str, Any], field: str, cause: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        templates.save(session, draft(**changes))
    assert refused.value.details["field"] == field
    assert cause in refused.value.message
    assert session.scalars(select(NotificationTemplate)).all() == []


def test_a_source_that_is_too_long_is_refused(session: Session) -> None:
    with pytest.raises(TooLarge):
        templates.save(session, draft(message="x" * 8001))


def test_what_an_event_would_say_can_be_seen_before(session: Session) -> None:
    words = templates.preview(
        draft(message="<p>{{ who }}<i>!</i></p>", variables=["who"], format="rich"), {"stage_id": 7, "who": "<Zoé>"}
    )
    assert (words.title, words.message, words.format) == ("Stage 7", "<p>&lt;Zoé&gt;<i>!</i></p>", "rich")
    with pytest.raises(InvalidInput, match="title: line 1: 'stage_id' is undefined"):
        templates.preview(draft(), {})
    assert session.scalars(select(NotificationTemplate)).all() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda s: templates.get(s, NAME, "fr"),
        lambda s: templates.activate(s, NAME, "fr", 1),
        lambda s: templates.list_versions(s, NAME, "fr"),
    ],
)
def test_what_is_not_there_is_not_found(session: Session, call: Any) -> None:
    with pytest.raises(NotFound, match="there is no stage_update/fr"):
        call(session)


def test_an_author_who_is_erased_leaves_the_template(session: Session, company: Company) -> None:
    author = company.person("author")
    saved = templates.save(session, draft(), created_by=author)
    session.execute(text("DELETE FROM users WHERE id = :id"), {"id": author})
    session.refresh(saved)
    assert saved.created_by is None


def test_the_active_templates_of_an_event_are_one_indexed_read(session: Session) -> None:
    session.execute(
        text("""
        INSERT INTO notification_templates (name, locale, version, title, message)
        SELECT 'stage_update.a' || n, 'fr', 1, 'T', 'M' FROM generate_series(1, 5000) AS n
    """)
    )
    use(session)
    session.execute(text("ANALYZE notification_templates"))
    query = templates.ACTIVE.where(NotificationTemplate.name.in_([NAME, f"{NAME}.a1"])).compile(
        session.get_bind(), compile_kwargs={"literal_binds": True}
    )
    plan = "\n".join(session.scalars(text(f"EXPLAIN {query}")))
    assert "notification_templates_active" in plan
