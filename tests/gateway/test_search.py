"""The search: words in title and message, whatever their accents and case, within one's own notifications."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from sqlalchemy import text

from gateway import inbox
from gateway.filters import Filters, Page
from shared.database import transaction
from tests.gateway.test_plans import large, rows_touched  # noqa: F401  # a fixture of theirs

SEARCH = "/api/notifications/notifications/search/"


@pytest.fixture
def me(client, company):
    """GET as person 42; the JSON."""
    company.person("42")
    company.person("7")
    headers = company.bearer("42")

    def get(query, expected_status=200):
        address = query if query.startswith("/") else f"{SEARCH}?{query}"
        answer = client.get(address, headers=headers)
        assert answer.status_code == expected_status, answer.get_data(as_text=True)
        return answer.json

    return get


def titles(page):
    return [notification["title"] for notification in page["results"]]


def test_the_title_and_the_message_are_searched(me, company):
    company.notify("42", title="Nouveau stage", message="…")
    company.notify("42", title="Rappel", message="Votre stage commence lundi")
    company.notify("42", title="Sondage", message="…")
    assert titles(me("q=stage")) == ["Rappel", "Nouveau stage"]


@pytest.mark.parametrize(
    "asked",
    [
        "évaluation",
        "EVALUATION",
        "Évaluation",
        "valu",
        "e\u0301valuation",
        "ÉVALUATION terminée",
        "TERMINEE evaluation",
    ],
)
def test_accents_case_and_order_do_not_matter(asked, me, company):
    company.notify("42", title="Évaluation", message="Elle est terminée")
    company.notify("42", title="Autre", message="Rien")
    assert titles(me(f"q={quote(asked)}")) == ["Évaluation"]


def test_other_writings_are_folded_alike(me, company):
    company.notify("42", title="Große Straße", message="ﬁn")
    assert titles(me(f"q={quote('STRASSE fin')}")) == ["Große Straße"]


def test_every_word_has_to_occur(me, company):
    company.notify("42", title="Stage 12", message="document approuvé")
    company.notify("42", title="Stage 13", message="document rejeté")
    assert titles(me("q=document+stage")) == ["Stage 13", "Stage 12"]
    assert titles(me("q=document+rejete")) == ["Stage 13"]
    assert titles(me("q=approuve+rejete")) == []


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("100%", ["100% atteint"]),
        ("a_b", ["a_b"]),
        ("\\d", ["C:\\data"]),
        ("%%", []),
        ("__", []),
        ("/%", []),
        ("0/", []),
    ],
)
def test_wildcards_are_letters_like_others(asked, expected, me, company):
    for title in ("100% atteint", "1000 atteint", "a_b", "axb", "C:\\data"):
        company.notify("42", title=title, message="m")
    assert titles(me(f"q={quote(asked)}")) == expected


def test_nobody_elses_notifications_are_found(me, company):
    company.notify("7", title="Secret stage", message="…")
    company.notify("7", "42", title="Shared stage", message="…")
    assert titles(me("q=stage&count=true")) == ["Shared stage"]
    assert me("q=stage&count=true")["count"] == 1
    assert me("q=secret&count=true")["count"] == 0


def test_what_is_deleted_is_not_found(me, company, settings):
    company.notify("42", title="Stage", message="…")
    with transaction(settings) as session:
        session.execute(text("UPDATE notifications SET deleted_at = now()"))
    assert titles(me("q=stage")) == []


def test_all_filters_of_the_list_narrow_a_search(me, client, company):
    company.groups("role_rh")
    read = company.notify("42", title="stage a", message="…")
    company.notify("42", title="stage b", message="…", notification_type="error")
    company.notify("42", title="stage c", message="…", event_type="survey", data={"survey_id": 1})
    client.post(f"/api/notifications/notifications/{read}/read/", headers=company.bearer("42"))
    today = datetime.now(UTC).date()
    yesterday, tomorrow = today - timedelta(days=1), today + timedelta(days=1)
    assert titles(me("q=stage&is_read=true")) == ["stage a"]
    assert titles(me("q=stage&is_read=false")) == ["stage c", "stage b"]
    assert titles(me("q=stage&notification_type=error")) == ["stage b"]
    assert titles(me("q=stage&category=SURVEY")) == ["stage c"]
    assert titles(me("q=stage&event_type=survey&notification_type=error")) == []
    assert len(titles(me(f"q=stage&since={yesterday}&until={tomorrow}"))) == 3
    assert titles(me(f"q=stage&until={yesterday}")) == []
    assert titles(me(f"q=stage&since={tomorrow}")) == []


def test_pages_lead_on_and_back_and_keep_the_words(me, company):
    for n in range(5):
        company.notify("42", title=f"Stage {n}", message="…")
        company.notify("42", title="Other", message="…")
    first = me("q=stage&page_size=2&count=true")
    assert (titles(first), first["count"], first["previous"]) == (["Stage 4", "Stage 3"], 5, None)
    second = me(first["next"])
    third = me(second["next"])
    assert (titles(second), titles(third), third["next"]) == (["Stage 2", "Stage 1"], ["Stage 0"], None)
    assert titles(me(third["previous"])) == ["Stage 2", "Stage 1"]
    assert titles(me("q=stage&page_size=2&page=3")) == ["Stage 0"]


def test_a_search_looks_so_far_and_goes_on_from_there(me, company, monkeypatch):
    monkeypatch.setattr(inbox, "SEARCHED", 4)
    company.notify("42", title="Stage old", message="…")
    for _ in range(9):
        company.notify("42", title="Other", message="…")
    company.notify("42", title="Stage new", message="…")
    page, seen, turns = me("q=stage"), [], 0
    while True:
        seen, turns = seen + titles(page), turns + 1
        if page["next"] is None:
            break
        page = me(page["next"])
    assert (seen, turns) == (["Stage new", "Stage old"], 3)
    back, turns = me(page["previous"]), 0
    while "Stage new" not in titles(back):
        back, turns = me(back["previous"]), turns + 1
    assert turns <= 3
    numbered = me("q=stage&page=1")
    assert "cursor=" in numbered["next"]
    assert "page=" not in numbered["next"]
    assert me(numbered["next"])["results"] == []


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "q=",
        "q=a",
        "q=+++",
        "q=%20x%20",
        "q=%CC%81%CC%81",
        "q=" + "a" * 101,
        "q=a%00b",
        "q=" + "+".join("abcdefghijk"),
        "q=stage&q=rh",
    ],
)
def test_a_search_for_next_to_nothing_or_too_much_says_what_is_expected(asked, me):
    error = me(asked if asked else SEARCH, expected_status=400)["error"]
    assert (error["code"], error["details"]["field"]) == ("invalid_input", "q")
    assert error["details"]["expected"] in ("one value", "2 to 100 characters in at most 10 words")


def test_a_search_that_finds_nothing_reads_only_one_s_own(large, settings):  # noqa: F811
    oldest = inbox.oldest_shown(settings)
    nothing = Filters(words=("nowhere",))
    touched = rows_touched(settings, lambda session: inbox.search_page(session, large, nothing, Page(), oldest))
    assert 20_000 <= touched <= 3 * 20_000, "the person's rows twice, and their events once"


def test_a_search_stops_when_its_page_is_full(large, settings):  # noqa: F811
    with transaction(settings) as session:
        session.execute(text("UPDATE notification_events SET search_text = 'stage'"))
    oldest = inbox.oldest_shown(settings)
    stage = Filters(words=("stage",))
    assert rows_touched(settings, lambda session: inbox.search_page(session, large, stage, Page(), oldest)) <= 120
