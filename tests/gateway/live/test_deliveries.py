"""A notification counts as delivered once something comes back after it: once per person, however often."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from gateway.live.deliveries import Receipt, write_receipts
from shared.database import engine, transaction
from shared.models import BatchReceipt, CountChange, Notification, SocketTime
from tests.gateway.live.gateway_process import GatewayProcess
from tests.system import wait_until

QUICK = {"record_seconds": 0.05}


def delivered(settings):
    """(event id, user id) of everything noted as delivered, sorted: doubles would show."""
    with transaction(settings) as session:
        notes = session.scalars(select(CountChange).where(CountChange.what == "delivered")).all()
        return sorted(pair for note in notes for pair in zip(note.event_ids, note.user_ids, strict=True))


@pytest.fixture(scope="module")
def shared_quick(settings):
    with GatewayProcess(settings, limits=QUICK) as process:
        yield process


@pytest.fixture
def quick(shared_quick, clean):
    """A gateway in a hurry."""
    return shared_quick


def test_a_frame_that_comes_back_confirms_what_was_written_before(quick, company, worker, settings):
    one, two = company.people(["1", "2"])
    with quick.connect(company.token("1")) as client, quick.connect(company.token("2")) as silent:
        event_id = worker.send([one, two])
        client.wait_for("notification")
        silent.wait_for("notification")
        client.send(type="ping")
        wait_until(lambda: delivered(settings) == [(event_id, one)], "the one that answered", explain=quick.log)
        later = worker.send([one])
        client.wait_for("notification")
        client.send(type="seen", ids=[event_id])
        wait_until(lambda: delivered(settings) == [(event_id, one), (later, one)], "both of it", explain=quick.log)
        client.settle()
    with transaction(settings) as session:
        receipt = session.get_one(BatchReceipt, (event_id, 0))
        assert receipt.delivered == b"\x01"


def test_what_nobody_answers_is_not_delivered(quick, company, worker, settings):
    one, two = company.people(["1", "2"])
    with quick.connect(company.token("1")) as leaving:
        worker.send([one])
        leaving.wait_for("notification")
    with quick.connect(company.token("2")) as client:
        event_id = worker.send([two])
        client.wait_for("notification")
        client.settle()
        wait_until(lambda: delivered(settings), "something is confirmed")
        assert delivered(settings) == [(event_id, two)]  # closing says nothing about what was read before


def test_tabs_gateways_and_replays_count_once(quick, start_gateway, company, worker, settings):
    first, second = quick, start_gateway(limits=QUICK)
    person = company.person("1")
    with (
        first.connect(company.token("1")) as tab,
        first.connect(company.token("1")) as other,
        second.connect(company.token("1")) as elsewhere,
    ):
        cursor = tab.received[0]["cursor"]
        event_id = worker.send([person])
        for client in (tab, other, elsewhere):
            client.wait_for("notification")
            client.settle()
        wait_until(lambda: delivered(settings) == [(event_id, person)], "once")
    with second.connect(company.token("1")) as back:
        back.send(type="resume", cursor=cursor)
        assert back.wait_for("resumed")["replayed"] == 1
        marker = worker.send([person])
        back.wait_for("notification", lambda frame: frame["notification"]["id"] == marker)
        back.settle()
        wait_until(lambda: (marker, person) in delivered(settings), "the marker")
    assert delivered(settings) == [(event_id, person), (marker, person)]


def test_what_was_missed_is_delivered_by_its_replay(quick, start_gateway, company, worker, settings):
    killed = start_gateway(limits=QUICK)
    others = company.people([str(n) for n in range(100, 110)])
    person = company.person("1")
    with killed.connect(company.token("1")) as client:
        cursor = client.received[0]["cursor"]
        have = worker.send([*others, person])
        client.wait_for("notification")
        killed.kill()  # before the browser could answer
    missed = worker.send([*others, person])
    with quick.connect(company.token("1")) as client:
        client.send(type="resume", cursor=cursor, have=[have])
        assert client.wait_for("resumed")["replayed"] == 1
        client.settle()
        wait_until(lambda: delivered(settings) == sorted([(have, person), (missed, person)]), "both", explain=quick.log)


def test_only_critical_events_note_the_time_of_each_recipient(quick, company, worker, settings):
    person = company.person("1")
    with quick.connect(company.token("1")) as client:
        events = [worker.send([person], priority=priority) for priority in ("high", "critical")]
        for _ in events:
            client.wait_for("notification")
        client.settle()
        wait_until(lambda: len(delivered(settings)) == 2, "both are confirmed")
    with transaction(settings) as session:
        times = dict(session.execute(select(Notification.event_id, Notification.delivered_at)).all())
    assert [times[event_id] is not None for event_id in events] == [False, True]


def test_the_time_to_the_socket_is_noted_for_those_who_are_there(quick, company, worker, settings):
    people = company.people(["1", "2", "3"])
    with quick.connect(company.token("1")) as one, quick.connect(company.token("2")) as two:
        event_id = worker.send(people)
        for client in (one, two):
            client.wait_for("notification")

        def times():
            with transaction(settings) as session:
                created = text(
                    "SELECT extract(epoch FROM handed_at - created_at) FROM socket_times JOIN notification_events event ON event.id = event_id"
                )
                return [(row.event_id, row.people) for row in session.scalars(select(SocketTime))], session.scalars(
                    created
                ).all()

        wait_until(lambda: times()[0] == [(event_id, 2)], "one batch, two people", explain=quick.log)
        assert 0 < times()[1][0] < 5


def test_what_is_confirmed_while_the_database_can_not_take_it_is_written_later(quick, company, worker, settings):
    person = company.person("1")
    with quick.connect(company.token("1")) as client:
        event_id = worker.send([person])
        client.wait_for("notification")
        with transaction(settings) as session:
            session.execute(text("LOCK TABLE batch_receipts IN ACCESS EXCLUSIVE MODE"))
            client.settle()
        wait_until(
            lambda: delivered(settings) == [(event_id, person)], "written in the end", seconds=30, explain=quick.log
        )


def test_bits_are_set_once_and_by_place(company, worker, settings):
    people = company.people([str(n) for n in range(20)])
    event_id = worker.store(people).event_id
    for given, new in ((people[:1] + people[-1:], 2), (people[-3:], 2), (people, 16), (people, 0)):
        with transaction(settings) as session:
            receipts = [Receipt(event_id, 0, people.index(user_id), user_id) for user_id in given]
            assert write_receipts(session, receipts) == new
    with transaction(settings) as session:
        assert write_receipts(session, [Receipt(event_id, 7, 0, people[0])]) == 0  # no such batch (any more)
        assert session.get_one(BatchReceipt, (event_id, 0)).delivered == b"\xff\xff\x0f"
    assert delivered(settings) == [(event_id, user_id) for user_id in people]


@pytest.mark.parametrize("how", ["event_batches WHERE event_id", "notification_events WHERE id"])
@pytest.mark.parametrize("has_receipt", [False, True])
def test_a_batch_that_is_deleted_at_that_moment_costs_the_others_nothing(company, worker, settings, how, has_receipt):
    person = company.person("1")
    before, going, after = (worker.store([person]).event_id for _ in range(3))
    if has_receipt:  # then that is deleted, too
        with transaction(settings) as session:
            write_receipts(session, [Receipt(going, 0, 7, person)])
    written = []

    def confirm():
        with transaction(settings) as session:
            written.append(write_receipts(session, [Receipt(event, 0, 0, person) for event in (after, going, before)]))

    with Session(engine(settings)) as cleaner:
        cleaner.execute(text(f"DELETE FROM {how} = :id"), {"id": going})
        gateway = threading.Thread(target=confirm)
        gateway.start()
        wait_until(lambda: waits_for_a_lock(settings), "the gateway is held up by the deletion")
        cleaner.commit()
    gateway.join(10)
    assert written == [2]
    assert delivered(settings) == sorted(
        (event, person) for event in (before, after, *([going] if has_receipt else []))
    )
    with transaction(settings) as session:
        assert set(session.scalars(select(BatchReceipt.event_id))) == {before, after}


def waits_for_a_lock(settings):
    with transaction(settings) as session:
        return session.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"))
