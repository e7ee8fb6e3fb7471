"""What happened is folded into counts, once, whoever dies meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from gateway import inbox
from shared.database import engine, transaction
from shared.events import EventDraft, record_event
from shared.models import DailyCount, EventCount
from shared.settings import Settings
from tests.company import Company
from workers import counting, planning

COUNTS = ("sent", "stored", "delivered", "seen", "read", "deleted")


def fold(settings: Settings) -> None:
    """As the task does, until nothing waits."""
    is_done = False
    while not is_done:
        with transaction(settings) as session:
            is_done = counting.fold_counts(session)


def process(settings: Settings, audience: list[str], **draft: object) -> int:
    """Record, plan and store one event, as the workers do; its id."""
    with transaction(settings) as session:
        event = record_event(session, EventDraft(audience=audience, title="T", message="M", **draft), settings)  # type: ignore[arg-type]
    with transaction(settings) as session:
        planning.process_events(session, settings)
    return event.id


def counts_by_role(settings: Settings) -> dict[str, tuple[int, ...]]:
    """Sent, stored, delivered, seen, read, deleted."""
    with transaction(settings) as session:
        found: dict[str, list[int]] = {}
        for row in session.query(DailyCount):
            held = found.setdefault(row.role, [0] * len(COUNTS))
            for place, name in enumerate(COUNTS):
                held[place] += getattr(row, name)
    return {role: tuple(counts) for role, counts in found.items()}


def test_stored_notifications_are_counted_by_role_and_in_total(company: Company, settings: Settings) -> None:
    company.people(["1", "2", "3"], "role_rh")
    company.people(["4", "5"], "role_tuteur")
    company.person("6", "role_rh", "role_tuteur")
    process(settings, ["role_rh"])
    process(settings, ["role_rh", "role_tuteur"])
    process(settings, ["user_5"])
    fold(settings)
    assert counts_by_role(settings) == {"": (3, 11, 0, 0, 0, 0), "rh": (2, 8, 0, 0, 0, 0), "tuteur": (3, 5, 0, 0, 0, 0)}
    fold(settings)
    assert counts_by_role(settings)[""] == (3, 11, 0, 0, 0, 0)


def test_an_event_whose_batches_are_counted_apart_is_sent_once(company: Company, settings: Settings) -> None:
    people = company.people(["1", "2", "3", "4"], "role_rh")
    event_id = company.notify("1")
    for n, part in enumerate((people[:1], people[1:])):
        with transaction(settings) as session:
            session.execute(
                text("""INSERT INTO event_batches (event_id, n, kind, locale, recipient_ids, stored_xid, stored_at)
                        VALUES (:event_id, :n, 'notification', 'fr', :people, pg_current_xact_id(), now())"""),
                {"event_id": event_id, "n": n, "people": part},
            )
        fold(settings)
    assert counts_by_role(settings) == {"": (1, 4, 0, 0, 0, 0), "rh": (1, 4, 0, 0, 0, 0)}


def test_seen_read_and_deleted_are_counted_once_each(company: Company, settings: Settings) -> None:
    me = company.person("1", "role_rh")
    events = [process(settings, ["role_rh"]) for _ in range(3)]
    with transaction(settings) as session:
        inbox.mark_seen(session, me, events[:1])
        inbox.mark_read(session, me, events[1:2])
    for _ in range(2):
        with transaction(settings) as session:
            assert len(inbox.mark_read(session, me, events)) in (2, 0)
    with transaction(settings) as session:
        inbox.delete(session, me, events[:2])
    fold(settings)
    assert counts_by_role(settings) == dict.fromkeys(("", "rh"), (3, 3, 0, 3, 3, 2))
    with transaction(settings) as session:
        kept = session.get_one(EventCount, events[0])
        assert (kept.stored, kept.seen, kept.read, kept.deleted, sorted(kept.roles)) == (1, 1, 1, 1, ["", "rh"])


def test_types_and_days_are_told_apart_and_categories_of_everyone(company: Company, settings: Settings) -> None:
    company.person("1", "role_rh")
    process(settings, ["role_rh"], notification_type="error", category="STAGE")
    yesterday = process(settings, ["role_rh"], notification_type="error", category="DOCUMENT")
    with transaction(settings) as session:
        change = "UPDATE notification_events SET created_at = created_at - interval '1 day' WHERE id = :id"
        session.execute(text(change), {"id": yesterday})
    fold(settings)
    with transaction(settings) as session:
        today = datetime.now(UTC).date()
        found = {
            (row.role, row.notification_type, row.category, (today - row.day).days) for row in session.query(DailyCount)
        }
    assert found == {
        ("", "error", "STAGE", 0),
        ("", "error", "DOCUMENT", 1),
        ("rh", "error", "", 0),
        ("rh", "error", "", 1),
    }


def test_what_was_counted_stays_when_notifications_and_events_go(company: Company, settings: Settings) -> None:
    me = company.person("1", "role_rh")
    company.person("2", "role_rh")
    event_id = process(settings, ["role_rh"])
    with transaction(settings) as session:
        inbox.mark_read(session, me, [event_id])
    fold(settings)
    before = counts_by_role(settings)
    with transaction(settings) as session:
        late = "INSERT INTO count_changes (what, event_ids, user_ids) VALUES ('deleted', ARRAY[:id], ARRAY[:me])"
        session.execute(text(late), {"id": event_id, "me": me})
        session.execute(text("DELETE FROM notifications"))
        session.execute(text("DELETE FROM notification_events"))
    fold(settings)
    assert counts_by_role(settings) == before == dict.fromkeys(("", "rh"), (1, 2, 0, 1, 1, 0))
    assert company.count("count_changes") == company.count("event_counts") == 0


def test_reading_what_was_imported_is_not_counted(company: Company, settings: Settings) -> None:
    """It was never counted as stored, so the rates would pass 1."""
    me = company.person("1", "role_rh")
    imported, own = company.notify("1", source="django-import"), process(settings, ["user_1"])
    with transaction(settings) as session:
        assert len(inbox.mark_read(session, me, [imported, own])) == 2
    fold(settings)
    assert counts_by_role(settings) == dict.fromkeys(("", "rh"), (1, 1, 0, 1, 1, 0))


def test_a_trial_is_in_no_count(company: Company, settings: Settings) -> None:
    me = company.person("1", "role_rh")
    event_id = process(settings, ["user_1"], source="selftest-0badc0de")
    with transaction(settings) as session:
        assert len(inbox.mark_read(session, me, [event_id])) == 1
    fold(settings)
    assert counts_by_role(settings) == {}
    process(settings, ["user_1"])
    fold(settings)
    assert counts_by_role(settings)["rh"] == (1, 1, 0, 0, 0, 0)


def test_what_is_rolled_back_is_not_counted(company: Company, settings: Settings) -> None:
    me = company.person("1")
    event_id = process(settings, ["user_1"])
    with Session(engine(settings)) as session:
        inbox.mark_read(session, me, [event_id])
        session.rollback()
        counting.fold_counts(session)
        session.rollback()  # killed before its commit: the next one starts where it did
    fold(settings)
    assert counts_by_role(settings)[""] == (1, 1, 0, 0, 0, 0)


def test_what_commits_after_a_later_transaction_is_counted_too(company: Company, settings: Settings) -> None:
    """Transactions commit out of order: a horizon that only looks at the newest would skip the slow one."""
    company.people(["1", "2"])
    with Session(engine(settings)) as slow:
        record_event(slow, EventDraft(audience=["user_1"], title="T", message="M"), settings)
        planning.process_events(slow, settings)
        process(settings, ["user_2"])
        fold(settings)
        slow.commit()
    fold(settings)
    assert counts_by_role(settings)[""][:2] == (2, 2)


def test_a_second_one_leaves_the_folding_to_the_first(company: Company, settings: Settings) -> None:
    company.person("1")
    process(settings, ["user_1"])
    with Session(engine(settings)) as first:
        counting.fold_counts(first)
        fold(settings)
        assert counts_by_role(settings) == {}
        first.commit()
    assert counts_by_role(settings)[""] == (1, 1, 0, 0, 0, 0)


def test_times_from_event_to_store_fill_a_histogram(company: Company, settings: Settings) -> None:
    company.people(["1", "2", "3"], "role_rh")
    process(settings, ["role_rh"])
    fold(settings)
    with transaction(settings) as session:
        ((step, bucket, people),) = session.execute(text("SELECT step, bucket, people FROM hourly_times"))
    assert (step, people) == ("store", 3)
    assert 0 <= bucket < 60  # 2^15 ms
