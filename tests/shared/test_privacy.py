"""A person's data: every trace is exported, every trace is erased, and nobody else's is touched."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import audit
from shared.archive import list_archives, read_archive, write_archive
from shared.audience import parse_audience, refuse_unknown
from shared.audit import Actor
from shared.database import engine, transaction
from shared.errors import InvalidInput, NotFound
from shared.events import EventDraft, record_event
from shared.models import Base, NotificationEvent
from shared.partitions import list_partitions
from shared.privacy import COVERED, erasure, export
from shared.privacy.erasure import erase_person, forget_in_archive
from shared.privacy.export import export_person
from shared.settings import Settings
from tests.company import Company
from workers import erasing, planning

SECRET = "anna.secret"


def transact(work: Callable[[Session], Any]) -> Any:
    with transaction() as session:
        return work(session)


def erase(person: str) -> erasure.Erased:
    return erase_person(transact, person, Actor("cli"), lambda: None)


def exported(person: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export_person(transact, person, "fr")]


def of_kind(facts: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [fact for fact in facts if fact["kind"] == kind]


@pytest.fixture
def anna(company: Company, settings: Settings) -> int:
    """Someone who has left traces everywhere, among people who have as well."""
    anna = company.person(SECRET, "role_rh", "stage_3")
    company.person("ben", "role_rh")
    with transaction(settings) as session:
        session.execute(
            text("UPDATE users SET email = 'anna@example.test', phone = '+331' WHERE id = :id"), {"id": anna}
        )
    company.notify(
        SECRET,
        title="Only anna",
        message="Her results",
        data={"grade": 3},
        link="/anna",
        thread_key="anna",
        idempotency_key="k-anna",
    )
    company.notify(SECRET, "ben", title="Both", message="Shared", data={"n": 1})
    company.notify(
        "ben", title="By anna", message="Hello ben", source_user=SECRET, source=f"http:{SECRET}", idempotency_key="k1"
    )
    company.notify("ben", title="Not anna", message="Shared", exclude=[f"user_{SECRET}"])
    with transaction(settings) as session:
        audit.record(session, Actor.person(SECRET, "10.0.0.1"), "notification.send", "5")
        audit.record(session, Actor("user_ben"), "people.upsert", "", audit.shortened([SECRET, "ben"]))
        audit.record(
            session, Actor("user_ben"), "notification.send", "6", {"audience": {"first": [f"role_rh & user_{SECRET}"]}}
        )
    return anna


def everything(session: Session) -> str:
    """All rows of all tables as one text."""
    tables = [table.name for table in Base.metadata.sorted_tables]
    return "\n".join(
        f"{table}: {line}"
        for table in tables
        for line in session.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} t"))
    )


def test_every_table_that_names_people_is_covered() -> None:
    names = {
        "user_id",
        "user_ids",
        "recipient_id",
        "recipient_ids",
        "source_user_id",
        "created_by",
        "actor",
        "external_id",
    }
    naming = {
        table.name
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if column.name in names or any(key.column.table.name == "users" for key in column.foreign_keys)
    }
    assert naming == set(COVERED)


def test_an_export_holds_everything_and_counts_it(anna: int, company: Company) -> None:
    facts = exported(SECRET)
    (person,) = of_kind(facts, "person")
    assert (person["id"], person["email"], person["phone"], person["is_active"]) == (
        SECRET,
        "anna@example.test",
        "+331",
        True,
    )
    assert [fact["group"] for fact in of_kind(facts, "group")] == ["role_rh", "stage_3"]
    assert [fact["title"] for fact in of_kind(facts, "notification")] == ["Only anna", "Both"]
    first = of_kind(facts, "notification")[0]
    assert (first["message"], first["data"], first["is_read"], first["deleted_at"]) == (
        "Her results",
        {"grade": 3},
        False,
        None,
    )
    assert first["created_at"].endswith("Z")
    assert [fact["texts"]["fr"]["title"] for fact in of_kind(facts, "event")] == ["By anna"]
    assert [fact["action"] for fact in of_kind(facts, "act")] == ["notification.send"]
    assert facts[-1] == {
        "kind": "end",
        "counts": {"group": 2, "connection": 0, "template": 0, "notification": 2, "event": 1, "delivery": 0, "act": 1},
    }
    assert "Not anna" not in json.dumps(facts)


def test_what_was_deleted_is_exported_too(anna: int, settings: Settings) -> None:
    with transaction(settings) as session:
        session.execute(text("UPDATE notifications SET deleted_at = now()"))
    assert all(fact["deleted_at"] for fact in of_kind(exported(SECRET), "notification"))


def test_an_export_is_read_in_pieces(anna: int, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        company.notify(SECRET, title=f"N{n}", message="m")
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    transactions = 0

    def counted(work: Callable[[Session], Any]) -> Any:
        nonlocal transactions
        transactions += 1
        return transact(work)

    facts = [json.loads(line) for line in export_person(counted, SECRET, "fr")]
    assert len(of_kind(facts, "notification")) == 7
    assert transactions >= 8


def test_after_an_erasure_nothing_is_left_of_the_person(anna: int, session: Session, settings: Settings) -> None:
    before = everything(session)
    assert before.count(SECRET) >= 9
    session.rollback()
    erased = erase(SECRET)
    assert (erased.notifications, erased.events, erased.opaque_id) == (2, 3, f"erased_{anna}")
    with transaction(settings) as own:
        assert erasing.forget_in_archives(own, settings) == 1
    for trace in (
        SECRET,
        "Only anna",
        "Her results",
        "anna@example.test",
        "+331",
        "k-anna",
        "10.0.0.1",
        "/anna",
        "grade",
    ):
        assert trace not in everything(session), trace
    with transaction(settings) as own:
        own.execute(text("UPDATE users SET created_at = now() - interval '2 hours'"))
        assert erasing.delete_erased(own) == 1
    assert session.scalars(text("SELECT external_id FROM users")).all() == ["ben"]


def test_what_others_were_told_stays(anna: int, session: Session) -> None:
    erase(SECRET)
    told = {event.texts["fr"]["title"]: event for event in session.query(NotificationEvent)}
    assert set(told) == {"", "Both", "By anna", "Not anna"}
    assert (told["Both"].audience, told["Both"].data) == ([["user_ben"]], {"n": 1})
    assert (told["By anna"].source_user_id, told["By anna"].source, told["By anna"].idempotency_key) == (None, "", None)
    assert told["Not anna"].exclude == []
    redacted = told[""]
    assert (redacted.data, redacted.audience, redacted.search_text, redacted.link, redacted.status) == (
        {"redacted": True},
        [],
        "",
        None,
        "processed",
    )
    assert session.scalar(text("SELECT count(*) FROM notifications")) == 3


def test_the_audit_log_knows_them_by_an_opaque_id_only(anna: int, session: Session) -> None:
    erase(SECRET)
    rows = {(row.actor, row.action): row for row in session.execute(text("SELECT * FROM audit_log")).all()}
    opaque = f"erased_{anna}"
    assert rows["cli", "person.erase"].target == opaque
    assert rows[opaque, "notification.send"].address is None
    assert rows["user_ben", "people.upsert"].details["first"] == [opaque, "ben"]
    assert rows["user_ben", "notification.send"].details["audience"]["first"] == [f"role_rh & {opaque}"]


def test_a_similar_name_is_somebody_else(company: Company, session: Session) -> None:
    company.people(["4", "42"])
    company.notify("42", title="For 42", message="m")
    company.notify("4", title="For 4", message="m")
    erase("4")
    titles = sorted(event.texts["fr"]["title"] for event in session.query(NotificationEvent))
    assert titles == ["", "For 42"]
    assert session.scalar(text("SELECT is_active FROM users WHERE external_id = '42'")) is True


def test_the_same_id_may_come_back_as_somebody_new(anna: int, company: Company) -> None:
    erase(SECRET)
    assert company.person(SECRET) != anna
    assert of_kind(exported(SECRET), "notification") == []


@pytest.mark.parametrize("name", ["ghost", "", "erased 7", "erasing 7 x", "leaving 7 x", "a b", "x" * 300])
def test_who_is_not_known_is_not_found(name: str, company: Company) -> None:
    with pytest.raises(NotFound):
        erase(name)
    with pytest.raises(NotFound):
        exported(name)


def test_an_erased_person_can_be_erased_or_exported_no_more(anna: int, session: Session) -> None:
    erase(SECRET)
    name = str(session.scalar(text("SELECT external_id FROM users WHERE id = :id"), {"id": anna}))
    for again in (SECRET, name):
        with pytest.raises(NotFound):
            erase(again)
        with pytest.raises(NotFound):
            exported(again)


def test_an_erasure_that_was_killed_goes_on(anna: int, session: Session) -> None:
    """Every transaction in turn is the last before the end; done again, nothing is left."""
    for survives in range(1, 40):
        left = survives

        def fragile(work: Callable[[Session], Any]) -> Any:
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            return transact(work)

        try:
            erase_person(fragile, SECRET, Actor("cli"), lambda: None)
        except KeyboardInterrupt:
            continue
        break
    assert survives > 8
    assert session.scalar(text("SELECT count(*) FROM notifications")) == 3


def test_batches_of_any_state_forget_the_person(
    anna: int, company: Company, settings: Settings, session: Session
) -> None:
    """A stored one keeps the places of the others, since receipts count by place; the other gets shorter."""
    ben = session.scalar(text("SELECT id FROM users WHERE external_id = 'ben'"))
    with transaction(settings) as own:
        stored = record_event(own, EventDraft(audience=["role_rh"], title="S", message="m"), settings).id
        planning.process_events(own, settings)
        waiting = record_event(own, EventDraft(audience=["role_rh"], title="W", message="m"), settings).id
        own.execute(text("UPDATE notification_events SET status = 'planned' WHERE id = :id"), {"id": waiting})
        own.execute(
            text(
                "INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids) VALUES (:id, 0, 'notification', 'fr', :ids)"
            ),
            {"id": waiting, "ids": [anna, ben]},
        )
    erase(SECRET)
    rows = session.execute(
        text("SELECT event_id, recipient_ids FROM event_batches WHERE event_id = ANY(:ids)"), {"ids": [stored, waiting]}
    )
    found = {row.event_id: row.recipient_ids for row in rows}
    assert found == {stored: [0, ben], waiting: [ben]}


def test_a_batch_that_is_being_confirmed_is_not_waited_for(anna: int, settings: Settings) -> None:
    with transaction(settings) as own:
        event_id = record_event(own, EventDraft(audience=["role_rh"], title="S", message="m"), settings).id
        planning.process_events(own, settings)
    with Session(engine(settings)) as gateway:
        gateway.execute(text("SELECT FROM event_batches WHERE event_id = :id FOR KEY SHARE"), {"id": event_id})
        with transaction(settings) as own:
            own.execute(text("SET LOCAL lock_timeout = '500ms'"))
            own.execute(erasure.LEAVE_STORED, {"user_id": anna, "event_ids": [event_id], "nobody": erasure.NOBODY})


def test_an_event_that_waits_for_them_alone_is_given_up(anna: int, settings: Settings, session: Session) -> None:
    with transaction(settings) as own:
        waiting = record_event(own, EventDraft(audience=[f"user_{SECRET}"], title="Later", message="m"), settings).id
        both = record_event(
            own, EventDraft(audience=[f"user_{SECRET}", "role_rh"], title="Later", message="m"), settings
        ).id
    erase(SECRET)
    found = session.get_one(NotificationEvent, waiting)
    assert (found.status, found.error, found.audience) == ("failed", "erased", [])
    assert (session.get_one(NotificationEvent, both).status, session.get_one(NotificationEvent, both).audience) == (
        "pending",
        [["role_rh"]],
    )
    with transaction(settings) as own:
        planning.process_events(own, settings)
    assert session.scalar(text("SELECT count(*) FROM notifications WHERE recipient_id = :id"), {"id": anna}) == 0


def test_a_plan_that_was_begun_before_is_waited_for(anna: int, settings: Settings, session: Session) -> None:
    """It commits a batch with the person in it after they were deactivated: that one is emptied too."""
    with Session(engine(settings)) as slow:
        event = record_event(slow, EventDraft(audience=["role_rh"], title="Slow", message="m"), settings)
        planning.process_events(slow, settings)
        eraser = threading.Thread(target=lambda: erase(SECRET))
        eraser.start()
        eraser.join(1.0)
        assert eraser.is_alive(), "it waits"
        event_id = event.id
        slow.commit()
        eraser.join(20)
        assert not eraser.is_alive()
    assert (
        anna
        not in session.scalars(
            text("SELECT unnest(recipient_ids) FROM event_batches WHERE event_id = :id"), {"id": event_id}
        ).all()
    )
    assert session.scalar(text("SELECT count(*) FROM notifications WHERE recipient_id = :id"), {"id": anna}) == 0


def test_senders_who_go_on_during_the_erasure_leave_nothing(
    anna: int, settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events with their audit rows, to the person and by the person, until each sender is told that nobody has that id."""
    monkeypatch.setattr(erasure, "EVENTS_AT_ONCE", 5)
    started, refused, over = threading.Barrier(5), [0] * 4, threading.Event()

    def loop(sender: int) -> None:
        by_anna = sender == 3
        draft = EventDraft(
            audience=["user_ben" if by_anna else f"user_{SECRET}"], title="In flight", message="m", data={} if by_anna else {"grade": 4},
            source_user=SECRET if by_anna else None, source=f"http:{SECRET}" if by_anna else "http:ben",
        )  # fmt: skip
        for turn in count():
            try:
                with transaction(settings) as own:
                    event = record_event(own, draft, settings)
                    actor = Actor.person(SECRET if by_anna else "ben")
                    audit.record_send(own, actor, "notification.send", event)
            except InvalidInput:
                refused[sender] += 1
                if over.is_set():
                    return
            if turn == 5:
                started.wait(20)

    senders = [threading.Thread(target=loop, args=(sender,)) for sender in range(4)]
    for sender in senders:
        sender.start()
    started.wait(20)
    erased = erase(SECRET)
    over.set()
    for sender in senders:
        sender.join(20)
    assert all(refused)
    assert erased.events > 18
    with transaction(settings) as own:
        assert erasing.forget_in_archives(own, settings) == 1
    left = everything(session)
    assert SECRET not in left
    assert '"grade"' not in left
    told = session.scalars(text("SELECT audience FROM notification_events WHERE texts::text LIKE '%In flight%'")).all()
    assert all(audience == [["user_ben"]] for audience in told), "only what ben was told"


def test_an_erasure_waits_for_who_has_found_the_person_known(anna: int, settings: Settings, session: Session) -> None:
    """Who checked the audience before the id went, and writes after: nothing but the row says so."""
    with Session(engine(settings)) as slow:
        refuse_unknown(slow, parse_audience(f"user_{SECRET}"))
        eraser = threading.Thread(target=lambda: erase(SECRET))
        eraser.start()
        eraser.join(1.0)
        assert eraser.is_alive(), "it waits"
        record_event(slow, EventDraft(audience=[f"user_{SECRET}"], title="Slow", message="m"), settings)
        slow.commit()
        eraser.join(20)
        assert not eraser.is_alive()
    assert "Slow" not in everything(session)


def test_an_id_that_came_back_during_an_erasure_that_was_killed_goes_with_it(
    anna: int, company: Company, session: Session
) -> None:
    left = 3

    def fragile(work: Callable[[Session], Any]) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return transact(work)

    with pytest.raises(KeyboardInterrupt):
        erase_person(fragile, SECRET, Actor("cli"), lambda: None)
    again = company.person(SECRET, "role_rh")
    company.notify(SECRET, title="Only anna", message="again")
    assert erase(SECRET).opaque_id == f"erased_{again}"
    names = session.scalars(text("SELECT external_id FROM users ORDER BY id")).all()
    assert names == [f"erasing {anna} {SECRET}", "ben", f"erasing {again} {SECRET}"]
    assert "Only anna" not in everything(session)


def test_many_notifications_go_in_bounded_pieces(
    anna: int, settings: Settings, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(settings) as own:
        own.execute(
            text("""
            INSERT INTO notification_events (event_type, category, notification_type, texts, search_text, data, audience, content_hash)
            SELECT 'system', 'SYSTEM', 'info', '{"fr": {"title": "t", "message": "m"}}', '', '{}', :audience, '' FROM generate_series(1, 50)
        """),
            {"audience": json.dumps([[f"user_{SECRET}"]])},
        )
        own.execute(
            text(
                "INSERT INTO notifications (recipient_id, event_id, stored_xid) SELECT :id, id, pg_current_xact_id() FROM notification_events WHERE content_hash = ''"
            ),
            {"id": anna},
        )
    monkeypatch.setattr(erasure, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(erasure, "EVENTS_AT_ONCE", 11)
    erased = erase(SECRET)
    assert (erased.notifications, erased.events) == (52, 53)
    assert session.scalar(text("SELECT count(*) FROM notification_events WHERE texts::text LIKE '%\"t\"%'")) == 0


def test_archives_forget_the_person(anna: int, settings: Settings, tmp_path: Path, session: Session) -> None:
    archiving = settings.model_copy(update={"notification_archive_dir": tmp_path})
    for partition in list_partitions(session):
        write_archive(session, partition, tmp_path)
    session.rollback()
    assert any(SECRET in json.dumps(line) for archive in list_archives(tmp_path) for line in read_archive(archive))
    erase(SECRET)
    with transaction(settings) as own:
        assert erasing.forget_in_archives(own, archiving) == 1
        assert erasing.forget_in_archives(own, archiving) == 0
    lines = [line for archive in list_archives(tmp_path) for line in read_archive(archive)]
    assert len(lines) == 3
    whole = json.dumps(lines)
    assert SECRET not in whole
    assert "Only anna" not in whole
    assert {line["person"] for line in lines} == {"ben"}


def test_a_line_of_an_archive_that_is_not_about_them_stays_as_it_is() -> None:
    event = {
        "event": {
            "id": 1,
            "texts": {"fr": {"title": "T", "message": "M"}},
            "audience": [["user_42"]],
            "exclude": [],
            "source_user": "42",
            "source": "",
            "data": {},
        }
    }
    assert forget_in_archive(event, "4") == event
    line = {"event_id": 1, "person": "42"}
    assert forget_in_archive(line, "4") == line
    assert forget_in_archive(line, "42") is None
