"""Nothing is lost and nothing comes twice, whatever Redis, workers and browsers do."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.database import engine, transaction
from shared.topics import BatchMessage
from tests.system import wait_until

SOON = {"tail_seconds": 0.2, "tail_pause_seconds": 0.05, "sweep_seconds": 0.05}
NEVER = {"tail_seconds": 3600.0}


def ids(client):
    kinds = ("notification", "role_notification", "system_message")
    return [frame["notification"]["id"] for frame in client.received if frame["type"] in kinds]


def resumed(client, cursor, have=()):
    """Ask for what was missed; the `resumed` frame."""
    client.send(type="resume", cursor=cursor, have=list(have))
    return client.wait_for("resumed")


def test_a_batch_published_twice_arrives_once(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        message = worker.store([user_id])
        worker.publish(message)
        worker.publish(message)
        last = worker.send([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == last)
        assert ids(client) == [message.event_id, last]


def test_every_batch_of_an_event_arrives(gateway, company, worker):
    first, second = company.people(["1", "2"])
    with gateway.connect(company.token("1")) as one, gateway.connect(company.token("2")) as two:
        message = worker.store([first, second])
        worker.publish(BatchMessage(message.event_id, 0, [first], message.frame))
        worker.publish(BatchMessage(message.event_id, 1, [second], message.frame))
        one.wait_for("notification")
        two.wait_for("notification")


def test_a_batch_nobody_published_arrives_with_the_same_frame(start_gateway, company, worker):
    gateway = start_gateway(limits=SOON)
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        message = worker.store([user_id], kind="system_message", title="Sans Redis")
        frame = client.wait_for("system_message")
        assert frame["message"] == "Message"
        assert frame["notification"]["id"] == message.event_id
        worker.publish(message)  # late
        marker = worker.send([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == marker)
        assert ids(client) == [message.event_id, marker]


def test_a_batch_that_commits_late_is_not_skipped_by_the_tail(start_gateway, company, worker, settings):
    gateway = start_gateway(limits=SOON)
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        with Session(engine(settings)) as session, session.begin():
            slow = worker.store([user_id], session=session, title="Lent")
            quick = worker.store([user_id], title="Rapide")
            client.wait_for("notification", lambda frame: frame["notification"]["id"] == quick.event_id)
            another = worker.store([user_id])
            client.wait_for("notification", lambda frame: frame["notification"]["id"] == another.event_id)
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == slow.event_id)
        last = worker.store([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == last.event_id)
        assert ids(client) == [quick.event_id, another.event_id, slow.event_id, last.event_id]


def test_a_batch_from_before_the_gateways_time_reaches_no_one(start_gateway, company, worker):
    user_id = company.person("1")
    old = worker.store([user_id])
    gateway = start_gateway(limits=SOON)
    with gateway.connect(company.token("1")) as client:
        assert client.received[0]["unread_count"] == 1
        worker.publish(old)  # the sweep publishes it again: lists and resumes have it already
        marker = worker.send([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == marker)
        client.settle()
        assert ids(client) == [marker]


def test_an_old_event_that_is_stored_only_now_arrives(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        with transaction(worker.settings) as session:
            message = worker.store([user_id], session=session)
            old_id = message.event_id - (3600 << 22)  # recorded an hour ago, before this gateway began
            for table, column in (("notifications", "event_id"), ("event_batches", "event_id")):
                session.execute(text(f"DELETE FROM {table} WHERE {column} = :id"), {"id": message.event_id})
            session.execute(
                text("UPDATE notification_events SET id = :old WHERE id = :id"),
                {"old": old_id, "id": message.event_id},
            )
            session.execute(
                text(
                    "INSERT INTO event_batches VALUES (:id, 0, 'notification', 'fr', :ids, pg_current_xact_id(), now())"
                ),
                {"id": old_id, "ids": [user_id]},
            )
        payload = message.frame.replace(str(message.event_id).encode(), str(old_id).encode())
        worker.publish(BatchMessage(old_id, 0, [user_id], payload))
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == old_id, seconds=4)
        worker.publish(BatchMessage(old_id, 0, [user_id], payload))
        client.settle()
        assert ids(client) == [old_id]


def test_who_was_away_gets_what_was_missed_once_and_in_order(gateway, company, worker):
    user_id, other = company.people(["1", "2"])
    with gateway.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
        seen = worker.send([user_id])
        client.wait_for("notification")
    missed = [
        worker.send([user_id], kind="role_notification"),
        worker.send([user_id], kind="system_message"),
        worker.send([user_id]),
    ]
    worker.send([other])
    with gateway.connect(company.token("1")) as client:
        answer = resumed(client, cursor, have=[seen])
        assert answer["replayed"] == 3
        assert ids(client) == missed
        kinds = [frame["type"] for frame in client.received if "notification" in frame]
        assert kinds == ["role_notification", "system_message", "notification"]
        live = worker.send([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == live)
        assert ids(client) == [*missed, live]
    with gateway.connect(company.token("1")) as client:
        assert resumed(client, answer["cursor"], have=[live])["replayed"] == 0


def test_what_was_replayed_and_is_published_only_later_comes_once(start_gateway, company, worker):
    gateway = start_gateway(limits=NEVER)
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
    unpublished = worker.store([user_id])
    known = worker.store([user_id])
    with gateway.connect(company.token("1")) as client:
        assert resumed(client, cursor, have=[known.event_id])["replayed"] == 1
        worker.publish(unpublished)
        worker.publish(known)  # this browser says that it has it
        live = worker.send([user_id])
        client.wait_for("notification", lambda frame: frame["notification"]["id"] == live)
        assert ids(client) == [unpublished.event_id, live]


def test_what_came_live_before_the_resume_is_not_replayed(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
    missed = worker.send([user_id])
    with gateway.connect(company.token("1")) as client:
        live = worker.send([user_id])
        client.wait_for("notification")
        assert resumed(client, cursor)["replayed"] == 1
        assert ids(client) == [live, missed]


def test_live_frames_and_resumes_side_by_side_are_exact(gateway, company, worker):
    user_id = company.person("1")
    cursor, have = None, []
    sent = []
    for _ in range(15):
        with gateway.connect(company.token("1")) as client:
            sent.append(worker.send([user_id]))
            if cursor is not None:
                client.send(type="resume", cursor=cursor, have=have)
                sent += [worker.send([user_id]) for _ in range(3)]
                cursor = client.wait_for("resumed")["cursor"]
            else:
                cursor = client.received[0]["cursor"]
            client.settle()
            have += ids(client)
        sent.append(worker.send([user_id]))
    with gateway.connect(company.token("1")) as client:
        resumed(client, cursor, have=have)
        have += ids(client)
    assert sorted(have) == sorted(sent)


@pytest.mark.parametrize(
    "change",
    [
        lambda cursor: "rubbish",
        lambda cursor: "00000000." + cursor.split(".", 1)[1],
        lambda cursor: cursor.rsplit(".", 1)[0] + ".5",
        lambda cursor: "{}.{}.{}".format(cursor.split(".")[0], 10**17, cursor.split(".")[2]),
        lambda cursor: cursor + ".1",
        lambda cursor: cursor.replace(".", ".-", 1),
    ],
)
def test_a_cursor_that_says_nothing_here_is_reset(gateway, company, worker, change):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        client.send(type="resume", cursor=change(client.received[0]["cursor"]))
        assert client.wait_for("reset")["reason"]
        event_id = worker.send([user_id])
        client.wait_for("notification")
        assert ids(client) == [event_id]


def test_more_than_500_missed_are_a_reset_and_500_are_replayed(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
    with transaction(worker.settings) as session:
        for _ in range(500):
            worker.store([user_id], session=session, data={"padding": "x" * 400})
    with gateway.connect(company.token("1")) as client:
        assert resumed(client, cursor)["replayed"] == 500
        assert len(ids(client)) == len(set(ids(client))) == 500
    worker.store([user_id])
    with gateway.connect(company.token("1")) as client:
        client.send(type="resume", cursor=cursor)
        assert client.wait_for("reset")["reason"] == "more than 500 notifications were missed"


def test_a_second_resume_is_a_reset(gateway, company, worker):
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
        resumed(client, cursor)
        client.send(type="resume", cursor=cursor)
        client.wait_for("reset")
        worker.send([user_id])
        client.wait_for("notification")


def test_a_pong_moves_the_cursor_on(start_gateway, company, worker):
    gateway = start_gateway(limits=SOON)
    user_id = company.person("1")
    with gateway.connect(company.token("1")) as client:
        first = client.received[0]["cursor"]
        event_id = worker.send([user_id])
        client.wait_for("notification")

        def moved():
            client.settle()
            return client.received[-1]["type"] == "pong" and client.received[-1]["cursor"] != first

        wait_until(moved, "the cursor has moved")
        cursor = client.received[-1]["cursor"]
    with gateway.connect(company.token("1")) as client:
        assert resumed(client, cursor)["replayed"] == 0
        assert event_id not in ids(client)
