"""The list: newest first, filtered, in pages whose addresses lead on; nobody else's notifications."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from shared.database import transaction
from shared.ids import first_event_id_at
from shared.models import NOTIFICATION_TYPES

LIST = "/api/notifications/notifications/"


@pytest.fixture
def me(client, company):
    """GET as person 42; the JSON."""
    company.person("42")
    company.person("7")
    headers = company.bearer("42")

    def get(address=LIST, expected_status=200):
        answer = client.get(address, headers=headers)
        assert answer.status_code == expected_status, answer.get_data(as_text=True)
        return answer.json

    return get


def ids(page):
    return [notification["id"] for notification in page["results"]]


def change(settings, statement, **values):
    with transaction(settings) as session:
        session.execute(text(statement), values)


def test_a_notification_is_shown_with_all_that_its_event_says(me, company):
    event_id = company.notify(
        "42",
        title="Rapport",
        message="Déposé",
        event_type="document_upload",
        notification_type="success",
        data={"stage_id": 3},
        link="/stages/3",
        image="https://example.test/a.png",
        actions=[{"label": "Ouvrir", "link": "/stages/3"}],
        thread_key="stage-3",
        priority="high",
    )
    (found,) = me()["results"]
    assert datetime.fromisoformat(found.pop("created_at")) <= datetime.now(UTC)
    assert found == {
        "id": event_id,
        "event_type": "document_upload",
        "category": "DOCUMENT_UPLOAD",
        "title": "Rapport",
        "message": "Déposé",
        "notification_type": "success",
        "priority": "high",
        "data": {"stage_id": 3},
        "link": "/stages/3",
        "image": "https://example.test/a.png",
        "actions": [{"label": "Ouvrir", "link": "/stages/3"}],
        "thread_key": "stage-3",
        "format": "plain",
        "is_read": False,
        "read_at": None,
        "seen_at": None,
    }


def test_the_newest_is_first_and_nobody_elses_is_there(me, company):
    mine = [company.notify("42"), company.notify("42", "7"), company.notify("42")]
    company.notify("7")
    assert ids(me()) == sorted(mine, reverse=True)


def test_a_person_reads_their_own_language(client, company):
    company.person("1", locale="en-GB")
    company.person("2", locale="de")
    texts = {"fr": {"title": "Bonjour", "message": "…"}, "en": {"title": "Hello", "message": "…"}}
    company.notify("1", "2", title=None, message=None, texts=texts)
    titles = [client.get(LIST, headers=company.bearer(person)).json["results"][0]["title"] for person in ("1", "2")]
    assert titles == ["Hello", "Bonjour"]


def test_following_next_shows_everything_once(me, company):
    made = [company.notify("42") for _ in range(7)]
    page, seen = me(LIST + "?page_size=3"), []
    assert page["previous"] is None
    while True:
        seen += ids(page)
        if page["next"] is None:
            break
        page = me(page["next"])
    assert seen == sorted(made, reverse=True)


def test_previous_leads_back(me, company):
    for _ in range(7):
        company.notify("42")
    first = me(LIST + "?page_size=3")
    second = me(first["next"])
    third = me(second["next"])
    assert ids(me(third["previous"])) == ids(second)
    assert ids(me(second["previous"])) == ids(first)
    assert me(second["previous"])["previous"] is None


def test_what_arrives_meanwhile_moves_no_page(me, company):
    for _ in range(4):
        company.notify("42")
    first = me(LIST + "?page_size=2")
    newest = company.notify("42")
    second = me(first["next"])
    assert not set(ids(first)) & set(ids(second))
    assert ids(second) == sorted(ids(second), reverse=True)
    back = me(second["previous"])
    assert ids(back) == ids(first)
    assert ids(me(back["previous"])) == [newest]


def test_page_numbers_count_from_one(me, company):
    made = sorted((company.notify("42") for _ in range(5)), reverse=True)
    page = me(LIST + "?page=2&page_size=2")
    assert ids(page) == made[2:4]
    assert ids(me(page["next"])) == made[4:]
    assert ids(me(page["previous"])) == made[:2]
    assert me(page["next"])["next"] is None
    assert me(page["previous"])["previous"] is None


def test_a_page_holds_20_unless_asked_otherwise(me, company):
    for _ in range(21):
        company.notify("42")
    assert len(me()["results"]) == 20
    assert len(me(LIST + "?page_size=100")["results"]) == 21


def test_the_next_address_keeps_the_filters(me, company):
    for _ in range(3):
        company.notify("42", notification_type="warning")
        company.notify("42")
    page = me(LIST + "?notification_type=warning&page_size=2&count=true")
    assert page["count"] == 3
    following = me(page["next"])
    assert [n["notification_type"] for n in following["results"]] == ["warning"]
    assert following["count"] == 3
    assert "count" not in me()


def test_read_and_unread_are_told_apart(me, client, company):
    read, unread = company.notify("42"), company.notify("42")
    client.post(f"{LIST}{read}/read/", headers=company.bearer("42"))
    assert ids(me(LIST + "?is_read=true")) == [read]
    assert ids(me(LIST + "?is_read=false")) == [unread]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("notification_type=error", ["b"]),
        ("category=SURVEY", ["c"]),
        ("event_type=survey", ["c"]),
        ("category=survey", []),
        ("notification_type=info&event_type=system", ["a"]),
    ],
)
def test_filters_choose(query, expected, me, company):
    company.groups("role_rh")
    company.notify("42", title="a")
    company.notify("42", title="b", notification_type="error")
    company.notify("42", title="c", event_type="survey", data={"survey_id": 1})
    assert [n["title"] for n in me(f"{LIST}?{query}")["results"]] == expected


def test_since_and_until_include_both_ends(me, company, settings):
    event_id = company.notify("42")
    moment = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
    change(settings, "UPDATE notification_events SET created_at = :at", at=moment)
    # The row's id is of now: only what compares created_at counts here, ids merely narrow the search.
    assert ids(me(LIST + "?since=2026-01-15")) == [event_id]
    assert ids(me(LIST + "?since=2026-01-15T12:00:00Z")) == [event_id]
    assert ids(me(LIST + "?since=2026-01-15T13:00:00%2B01:00")) == [event_id]
    assert ids(me(LIST + "?since=2026-01-15T13:00:00+01:00")) == [event_id], "a + that became a space"
    assert ids(me(LIST + "?since=2026-01-15T12:00:01")) == []
    assert ids(me(LIST + "?since=2026-01-16")) == []


def test_a_time_that_was_shown_includes_what_it_was_shown_of(me, company, settings):
    event_id = company.notify("42")
    change(
        settings,
        "UPDATE notification_events SET created_at = date_trunc('milliseconds', created_at) + interval '999 microseconds'",
    )
    (one,) = me(LIST)["results"]
    shown = datetime.fromisoformat(one["created_at"])
    for end in ("since", "until"):
        assert ids(me(f"{LIST}?{end}={one['created_at']}")) == [event_id]
    assert ids(me(f"{LIST}?until={(shown - timedelta(milliseconds=1)).isoformat()}")) == []


def test_until_a_day_means_its_end(me, company):
    today = datetime.now(UTC).date()
    event_id = company.notify("42")
    assert ids(me(f"{LIST}?until={today}")) == [event_id]
    assert ids(me(f"{LIST}?until={today - timedelta(days=1)}")) == []


def test_what_is_older_than_the_retention_is_not_shown(me, company, settings, client):
    kept = company.notify("42")
    old = company.notify("42")
    too_old = first_event_id_at(datetime.now(UTC) - timedelta(days=settings.notification_retention_days, seconds=5))
    with transaction(settings) as session:
        session.execute(
            text(f"CREATE TABLE notifications_old PARTITION OF notifications FOR VALUES FROM (0) TO ({too_old + 1})")
        )
        session.execute(text("UPDATE notification_events SET id = :new WHERE id = :id"), {"new": too_old, "id": old})
        session.execute(
            text("UPDATE notifications SET event_id = :new WHERE event_id = :id"), {"new": too_old, "id": old}
        )
    try:
        assert ids(me(LIST + "?count=true")) == [kept]
        assert me(LIST + "?count=true")["count"] == 1
        assert me(LIST + "unread-count/")["unread_count"] == 1
        me(f"{LIST}{too_old}/", expected_status=404)
        assert client.post(f"{LIST}{too_old}/read/", headers=company.bearer("42")).status_code == 404
    finally:
        change(settings, "DROP TABLE notifications_old")


@pytest.mark.parametrize("column", ["deleted_at", "archived_at"])
def test_what_is_deleted_or_archived_is_nowhere(column, me, company, settings, client):
    event_id = company.notify("42")
    change(settings, f"UPDATE notifications SET {column} = now()")
    assert ids(me(LIST + "?count=true")) == []
    assert me(LIST + "?count=true")["count"] == 0
    assert me(LIST + "unread-count/")["unread_count"] == 0
    me(f"{LIST}{event_id}/", expected_status=404)
    assert client.post(f"{LIST}{event_id}/read/", headers=company.bearer("42")).status_code == 404
    assert client.delete(f"{LIST}{event_id}/delete/", headers=company.bearer("42")).status_code == 404
    assert client.post(f"{LIST}mark-all-read/", headers=company.bearer("42")).json["updated"] == 0
    assert client.delete(f"{LIST}clear-all/", headers=company.bearer("42")).json["deleted"] == 0


REFUSED = {
    "is_read=yes": "is_read",
    "is_read=": "is_read",
    "notification_type=critical": "notification_type",
    "category=": "category",
    "category=%00": "category",
    "event_type=" + "a" * 101: "event_type",
    "since=yesterday": "since",
    "since=": "since",
    "since=2026-13-01": "since",
    "until=2026-11-30T25:00": "until",
    "until=9999-12-31T23:59:59-12:00": "until",
    "page=0": "page",
    "page=-1": "page",
    "page=x": "page",
    "page=%D9%A3": "page",
    "page=99999999": "page",
    "page=1&cursor=5": "page",
    "page_size=0": "page_size",
    "page_size=101": "page_size",
    "page_size=1_0": "page_size",
    "cursor=x": "cursor",
    "cursor=": "cursor",
    "cursor=-5": "cursor",
    "cursor=newer-": "cursor",
    "cursor=99999999999999999999999": "cursor",
    "cursor=9223372036854775807": "cursor",
    "count=1": "count",
    "is_read=true&is_read=false": "is_read",
    "isread=true": "parameter",
    "q=stage": "parameter",
}


@pytest.mark.parametrize("query", REFUSED)
def test_a_parameter_that_means_nothing_is_refused_by_name(query, me):
    error = me(f"{LIST}?{query}", expected_status=400)["error"]
    assert error["code"] == "invalid_input"
    assert error["details"]["field"] == REFUSED[query]
    assert error["details"]["expected"]


def test_an_unknown_parameter_is_told_the_known_ones(me):
    error = me(LIST + "?isread=true", expected_status=400)["error"]
    assert "is_read" in error["message"]
    assert "'isread'" in error["message"]


@pytest.mark.parametrize("until", ["9999-12-31", "9999-12-31T23:59:59Z"])
def test_the_end_of_time_is_a_time(until, me, company):
    event_id = company.notify("42")
    assert ids(me(f"{LIST}?until={until}")) == [event_id]


@pytest.mark.parametrize("since", ["0001-01-01", "1969-07-20T20:17:40Z"])
def test_the_beginning_of_time_is_a_time(since, me, company):
    event_id = company.notify("42")
    assert ids(me(f"{LIST}?since={since}")) == [event_id]


@pytest.mark.parametrize("kind", NOTIFICATION_TYPES)
def test_every_known_type_can_be_asked_for(kind, me):
    assert me(f"{LIST}?notification_type={kind}")["results"] == []
