"""Reading and deleting: exactly one's own, any number of times, with counts that tabs can trust."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway import inbox
from gateway.announcements import Announcer
from gateway.auth import Authenticator
from shared.database import transaction
from shared.installation import installation_id
from shared.models import Notification
from shared.redis import connect
from shared.topics import StateMessage, decode, live_topic

LIST = "/api/notifications/notifications/"
UNREAD = LIST + "unread-count/"


@pytest.fixture
def me(client, company):
    """Person 42, beside person 7: (method, path) → answer."""
    company.people(["42", "7"])
    headers = company.bearer("42")
    return lambda method, path: client.open(LIST + path, method=method, headers=headers)


@pytest.fixture
def heard(settings):
    """What is published on the live topic: call it for the next message."""
    with connect(settings) as redis, transaction(settings) as session:
        pubsub = redis.pubsub()
        pubsub.subscribe(live_topic(installation_id(session)))
        assert pubsub.get_message(timeout=5)["type"] == "subscribe"

        def following():
            message = pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            return None if message is None else decode(message["data"])

        yield following
        pubsub.close()


def user_id(settings, external_id):
    with transaction(settings) as session:
        return session.scalar(text("SELECT id FROM users WHERE external_id = :id"), {"id": external_id})


def test_one_s_own_unread_are_counted(me, company):
    assert me("GET", "unread-count/").json["unread_count"] == 0
    read, gone, _ = company.notify("42"), company.notify("42", "7"), company.notify("42")
    company.notify("7")
    assert me("GET", "unread-count/").json["unread_count"] == 3
    me("POST", f"{read}/read/")
    me("DELETE", f"{gone}/delete/")
    assert me("GET", "unread-count/").json["unread_count"] == 1


def test_reading_marks_read_and_tells_the_new_count(me, company, settings, heard):
    first, _ = company.notify("42"), company.notify("42")
    before = me("GET", "unread-count/").json

    answer = me("POST", f"{first}/read/")

    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["is_read"], answer.json["unread_count"]) == (first, True, 1)
    assert answer.json["version"] > before["version"]
    shown = me("GET", f"{first}/").json
    assert shown["is_read"]
    assert shown["read_at"] == answer.json["read_at"] == shown["seen_at"], "what was read was seen"
    assert heard() == StateMessage([user_id(settings, "42")], read=[first])


def test_reading_twice_changes_nothing_and_is_no_error(me, company):
    event_id = company.notify("42")
    first, second = me("POST", f"{event_id}/read/"), me("POST", f"{event_id}/read/")
    assert second.status_code == 200
    assert second.json["read_at"] == first.json["read_at"]
    assert second.json["unread_count"] == 0


def test_deleting_takes_it_away_for_good(me, company, settings, heard):
    gone, kept = company.notify("42"), company.notify("42")
    answer = me("DELETE", f"{gone}/delete/")
    assert (answer.status_code, answer.json["deleted"], answer.json["unread_count"]) == (200, 1, 1)
    assert [n["id"] for n in me("GET", "").json["results"]] == [kept]
    assert me("DELETE", f"{gone}/delete/").status_code == 404
    assert me("POST", f"{gone}/read/").status_code == 404
    assert heard() == StateMessage([user_id(settings, "42")], deleted=[gone])


def test_marking_all_read_leaves_others_alone(me, client, company, settings, heard):
    for _ in range(3):
        company.notify("42", "7")
    answer = me("POST", "mark-all-read/")
    assert (answer.status_code, answer.json["updated"], answer.json["unread_count"]) == (200, 3, 0)
    assert client.get(UNREAD, headers=company.bearer("7")).json["unread_count"] == 3
    assert heard() == StateMessage([user_id(settings, "42")], all_read=True)
    assert me("POST", "mark-all-read/").json["updated"] == 0


def test_clearing_all_leaves_others_alone(me, client, company, settings, heard):
    for _ in range(3):
        company.notify("42", "7")
    me("POST", "mark-all-read/")
    assert heard().all_read
    answer = me("DELETE", "clear-all/")
    assert (answer.status_code, answer.json["deleted"], answer.json["unread_count"]) == (200, 3, 0)
    assert me("GET", "").json["results"] == []
    assert len(client.get(LIST, headers=company.bearer("7")).json["results"]) == 3
    assert heard() == StateMessage([user_id(settings, "42")], cleared=True)


@pytest.mark.parametrize(("method", "path"), [("GET", "{}/"), ("POST", "{}/read/"), ("DELETE", "{}/delete/")])
def test_what_is_not_ones_own_is_not_found(method, path, me, company):
    theirs = company.notify("7")
    for event_id in (theirs, theirs + 1, 1, 0, 2**53 - 1, 2**53, 2**63, 10**18):
        answer = me(method, path.format(event_id))
        assert answer.status_code == 404, event_id
        assert answer.json["error"]["code"] == "not_found"
    with transaction(company.settings) as session:
        row = session.query(Notification).one()
        assert (row.read_at, row.deleted_at) == (None, None)


@pytest.mark.parametrize("event_id", ["x", "1.5", "-1", "1e9", "1_0", "%D9%A3", "0x10", "%00", "9" * 20, "' OR 1=1"])
@pytest.mark.parametrize(("method", "path"), [("GET", "{}/"), ("POST", "{}/read/"), ("DELETE", "{}/delete/")])
def test_an_id_that_is_no_whole_number_is_refused_by_name(method, path, event_id, me):
    answer = me(method, path.format(event_id))
    assert answer.status_code == 400
    assert answer.json["error"]["details"]["field"] == "id"


def test_many_are_changed_in_chunks(me, company, settings, monkeypatch):
    monkeypatch.setattr(inbox, "MAX_CHANGES", 2)
    for _ in range(5):
        company.notify("42")
    assert me("POST", "mark-all-read/").json == {
        "updated": 5,
        "unread_count": 0,
        "version": pytest.approx(10**15, rel=10),
    }
    assert me("DELETE", "clear-all/").json["deleted"] == 5


def test_what_arrives_meanwhile_is_not_swallowed(me, company, settings, monkeypatch):
    """Also where its event is older: it is stored after the list of what there was."""
    early = company.notify("7")
    company.notify("42")
    original = inbox.mark_read

    def and_meanwhile(session, *arguments):
        with transaction(settings) as other:
            other.execute(
                text("UPDATE notifications SET recipient_id = :me WHERE event_id = :id"),
                {"me": user_id(settings, "42"), "id": early},
            )
        return original(session, *arguments)

    monkeypatch.setattr(inbox, "mark_read", and_meanwhile)
    answer = me("POST", "mark-all-read/")
    assert (answer.json["updated"], answer.json["unread_count"]) == (1, 1)


def test_a_chunk_is_bounded(session):
    with pytest.raises(ValueError, match="at most 1000"):
        inbox.mark_read(session, 1, range(1, 1002))


def test_seen_is_not_read(me, company, settings):
    event_id = company.notify("42")
    with transaction(settings) as session:
        assert inbox.mark_seen(session, user_id(settings, "42"), [event_id, event_id, event_id + 1]) == [event_id]
        assert inbox.mark_seen(session, user_id(settings, "42"), [event_id]) == []
    shown = me("GET", f"{event_id}/").json
    assert (shown["is_read"], shown["seen_at"] is not None) == (False, True)
    assert me("GET", "unread-count/").json["unread_count"] == 1


@pytest.mark.parametrize("column", ["deleted_at", "archived_at"])
@pytest.mark.parametrize("change", [inbox.mark_read, inbox.mark_seen, inbox.delete])
def test_what_is_gone_is_changed_by_nobody(change, column, session, company, settings):
    """Not by a tab either that still shows it and says over its WebSocket that it was read."""
    company.person("42")
    event_id = company.notify("42")
    with transaction(settings) as other:
        other.execute(text(f"UPDATE notifications SET {column} = now()"))
    assert change(session, user_id(settings, "42"), [event_id]) == []


def test_counts_of_many_people_come_together(session, company, settings):
    company.people(["1", "2", "3"])
    company.notify("1", "2")
    company.notify("1")
    people = [user_id(settings, person) for person in ("1", "2", "3")]
    counts, version = inbox.unread_counts(session, people)
    assert counts == dict(zip(people, [2, 1, 0], strict=True))
    assert inbox.unread_counts(session, people)[1] >= version
    assert inbox.unread_counts(session, []) == ({}, 0)


RESET = text("""
    WITH locked AS (SELECT event_id FROM notifications WHERE recipient_id = :person ORDER BY recipient_id, event_id FOR UPDATE)
    UPDATE notifications SET read_at = NULL, seen_at = NULL
    WHERE recipient_id = :person AND event_id IN (SELECT event_id FROM locked)
""")


def test_tabs_that_change_the_same_rows_at_once_never_deadlock(company, settings):
    """Rows are locked in one order, whatever the order they are named in."""
    person = company.person("42")
    ids = [company.notify("42") for _ in range(60)]
    errors: list[DBAPIError] = []

    def work(change, order):
        try:
            for _ in range(15):
                with transaction(settings) as session:
                    change(session, person, order)
                with transaction(settings) as session:
                    session.execute(RESET, {"person": person})
        except DBAPIError as error:
            errors.append(error)

    jobs = [(inbox.mark_read, ids), (inbox.mark_seen, ids[::-1]), (inbox.mark_read, ids[::-1]), (inbox.mark_seen, ids)]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_without_redis_reading_works_and_only_other_tabs_wait(company, settings, closed_port):
    from gateway.app import create_app

    company.person("42")
    event_id = company.notify("42")
    away = create_app(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{closed_port}/0"}))
    answer = away.test_client().post(f"{LIST}{event_id}/read/", headers=company.bearer("42"))
    assert (answer.status_code, answer.json["unread_count"]) == (200, 0)


def test_after_a_failure_nobody_waits_for_redis_again_at_once(settings, closed_port):
    announcer = Announcer(
        Authenticator(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{closed_port}/0"}))
    )
    assert not announcer.announce(StateMessage([1], all_read=True))
    announcer._authenticator = None  # type: ignore[assignment]  # whoever asks it now fails
    assert not announcer.announce(StateMessage([1], all_read=True))
