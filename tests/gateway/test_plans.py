"""What the inbox costs: rows that PostgreSQL touches, among 20,000 of one person and 20,000 of others."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.orm import Session

from gateway import inbox
from gateway.filters import Filters, Page
from gateway.statistics import OWN
from shared.database import engine, transaction

EVENTS = text("""
    INSERT INTO notification_events (id, event_type, category, notification_type, texts, search_text, data, audience, content_hash)
    SELECT next_event_id(), 'system', 'SYSTEM', 'info', '{"fr": {"title": "t", "message": "m"}}', '', '{}', '[]', ''
    FROM generate_series(1, 20000)
""")
NOTIFICATIONS = text("""
    INSERT INTO notifications (recipient_id, event_id, stored_xid, read_at)
    SELECT CASE mine WHEN 1 THEN :me ELSE :me + 1 + id % 100 END, id, pg_current_xact_id(), CASE WHEN n > 50 THEN now() END
    FROM (SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM notification_events) AS e, generate_series(1, 2) AS mine
""")


@pytest.fixture
def large(company, settings):
    """The `users.id` of someone with 20,000 notifications, the newest 50 of them unread."""
    me = company.person("42")
    with transaction(settings) as session:
        session.execute(text("SET LOCAL synchronous_commit = on"))  # else VACUUM may not find them committed yet
        session.execute(EVENTS)
        session.execute(NOTIFICATIONS, {"me": me})
        session.execute(text("ANALYZE notifications"))
        session.execute(text("ANALYZE notification_events"))
    return me


def rows_touched(settings, work):
    """The rows that the scans of a piece of work read, those thrown away included."""
    statements: list[tuple[str, Any]] = []
    listener = lambda *given: statements.append((given[2], given[3]))
    event.listen(engine(settings), "before_cursor_execute", listener)
    try:
        with Session(engine(settings)) as session:  # rolled back at its end
            work(session)
    finally:
        event.remove(engine(settings), "before_cursor_execute", listener)
    with Session(engine(settings)) as session:
        cursor = session.connection().connection.cursor()
        touched = 0
        for statement, values in statements:
            cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement, values)
            touched += scanned(cursor.fetchone()[0][0]["Plan"])
    return touched


def scanned(plan):
    own = 0
    if plan["Node Type"].endswith("Scan") and "Relation Name" in plan:
        own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(scanned(child) for child in plan.get("Plans", []))


def scans_of(plan, relation):
    """How the plan reads a table."""
    own = [plan["Node Type"]] if plan.get("Relation Name") == relation else []
    return own + [scan for child in plan.get("Plans", []) for scan in scans_of(child, relation)]


def test_statistics_of_a_person_read_no_event(large, settings):
    with engine(settings).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE) notification_events"))
        one_of_a_hundred = {"user_id": large + 7, "oldest": 0}
        plan = connection.execute(text("EXPLAIN (FORMAT JSON) " + OWN.text), one_of_a_hundred).scalar_one()[0]["Plan"]
    assert scans_of(plan, "notification_events") == ["Index Only Scan"]


def test_pages_counts_and_changes_touch_what_they_show(large, settings):
    oldest = inbox.oldest_shown(settings)
    with transaction(settings) as session:
        ids = inbox.ids_of(session, large, oldest, unread=False)
    assert len(ids) == 20_000
    deep = Page(older_than=ids[5_000])
    work = {
        "first page": (lambda session: inbox.list_page(session, large, Filters(), Page(), oldest), 60),
        "deep page": (lambda session: inbox.list_page(session, large, Filters(), deep, oldest), 60),
        "page back": (
            lambda session: inbox.list_page(session, large, Filters(), Page(newer_than=ids[5_000]), oldest),
            60,
        ),
        "unread page": (lambda session: inbox.list_page(session, large, Filters(is_read=False), Page(), oldest), 60),
        "one": (lambda session: inbox.get(session, large, ids[7], oldest), 3),
        "unread count": (lambda session: inbox.unread_counts(session, [large], oldest), 60),
        "read one": (lambda session: inbox.mark_read(session, large, [ids[-1]]), 3),
        "delete ten": (lambda session: inbox.delete(session, large, ids[100:110]), 30),
    }
    touched = {name: rows_touched(settings, piece) for name, (piece, _) in work.items()}
    assert {name: rows for name, rows in touched.items() if rows > work[name][1]} == {}
    assert all(touched.values()), "each reads something"
