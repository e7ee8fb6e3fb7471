"""The audit log: part of the act, newest first, a page at a time without gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import audit
from shared.audit import Actor, Filters
from shared.database import transaction
from shared.errors import InvalidInput
from shared.settings import Settings

RH = Actor.person("7", address="10.0.0.9", request_id="abcdefgh")


def test_a_record_says_who_did_what_to_what_from_where(session: Session) -> None:
    audit.record(session, RH, "template.change", "welcome/fr", {"version": 3})
    (row,), cursor = audit.list_records(session, Filters(), 10)
    shown = audit.as_json(row)
    assert datetime.fromisoformat(shown.pop("at")) == row.at
    assert shown == {
        "id": row.id,
        "actor": "user_7",
        "action": "template.change",
        "target": "welcome/fr",
        "details": {"version": 3},
        "address": "10.0.0.9",
        "request_id": "abcdefgh",
    }
    assert cursor is None


def test_what_is_rolled_back_was_never_done(settings: Settings, session: Session) -> None:
    with transaction(settings) as own:
        audit.record(own, RH, "notification.send", "1")
        own.rollback()
    assert audit.list_records(session, Filters(), 10) == ([], None)


def test_pages_hold_every_record_once_although_many_are_of_one_moment(session: Session) -> None:
    for n in range(25):  # one transaction, so one time
        audit.record(session, RH, "notification.send", str(n))
    seen, cursor = [], None
    while True:
        rows, cursor = audit.list_records(session, Filters(), 10, cursor)
        seen += [int(row.target) for row in rows]
        if cursor is None:
            break
    assert seen == list(reversed(range(25)))


def test_filters_by_actor_action_and_time(session: Session) -> None:
    audit.record(session, RH, "notification.send", "1")
    audit.record(session, Actor.service("billing"), "event.create", "2")
    session.execute(text("UPDATE audit_log SET at = '2026-01-01T12:00:00Z' WHERE target = '1'"))

    def targets(**filters: object) -> list[str]:
        return [row.target for row in audit.list_records(session, Filters(**filters), 10)[0]]  # type: ignore[arg-type]

    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert targets(actor="service:billing") == ["2"]
    assert targets(action="notification.send") == ["1"]
    assert targets(until=noon) == ["1"]
    assert targets(since=noon + timedelta(seconds=1)) == ["2"]
    assert targets(since=noon) == ["2", "1"]


@pytest.mark.parametrize("cursor", ["", "7", "a-b", "1-2-3", "999999999999999999-1"])
def test_a_cursor_that_is_none_is_refused(cursor: str, session: Session) -> None:
    with pytest.raises(InvalidInput, match="cursor: expected"):
        audit.list_records(session, Filters(), 10, cursor)
