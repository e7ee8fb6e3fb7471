"""What statistics keep is what counting for real finds, after a journey of everything that is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from producer import NotificationService
from shared.database import transaction
from shared.doorbell import ring
from shared.partitions import list_partitions, make_partitions
from shared.settings import Settings
from shared.statistics import COUNTS, rate, system_counts
from shared.tasks import FOLD_COUNTS, PROCESS_EVENT
from tests.company import Company
from tests.live_client import LiveClient, connect
from tests.system import System, wait_until
from workers.retention import drop_week

API = "/api/notifications"
STORED = 36
OWN_COUNTS = ("total", "unread", "seen", "read")

# Receipts hold a bit per person of a batch; everything else stands in the rows themselves.
OF_ALL = """
    WITH delivered AS (
        SELECT event_id, user_id AS recipient_id
        FROM batch_receipts JOIN event_batches USING (event_id, n), unnest(recipient_ids) WITH ORDINALITY AS r (user_id, place)
        WHERE place <= 8 * length(delivered) AND get_bit(delivered, place::integer - 1) = 1
    ), own AS (
        SELECT recipient_id, event_id, notification_type, category, (created_at AT TIME ZONE 'UTC')::date::text AS day,
               delivered.event_id AS delivered, seen_at, read_at, deleted_at
        FROM notifications JOIN notification_events event ON event.id = event_id LEFT JOIN delivered USING (event_id, recipient_id)
    ), part AS (
        SELECT own.*, part, key FROM own, LATERAL (VALUES
            ('total', ''), ('by_type', notification_type), ('by_category', category), ('by_day', day)) AS parts (part, key)
        UNION ALL
        SELECT own.*, 'by_role', substr(group_name, 6) FROM own JOIN memberships ON user_id = recipient_id WHERE starts_with(group_name, 'role_')
    )
"""
SYSTEM = text(f"""{OF_ALL}
    SELECT part, key, count(DISTINCT event_id), count(*), count(delivered), count(seen_at), count(read_at), count(deleted_at)
    FROM part GROUP BY part, key
""")
OWN = text(f"""{OF_ALL}
    SELECT part, key, count(*), count(*) - count(read_at), count(seen_at), count(read_at) FROM part
    WHERE deleted_at IS NULL AND part <> 'by_role' AND recipient_id = (SELECT id FROM users WHERE external_id = :person)
    GROUP BY part, key
""")
PARTS = ("total", "by_role", "by_type", "by_category", "by_day")


def counted(settings: Settings, statement: Any, names: tuple[str, ...], **values: str) -> dict[str, Any]:
    """Counting for real, in the shape of the answers."""
    found: dict[str, Any] = {}
    with transaction(settings) as session:
        for part, key, *counts in session.execute(statement, values):
            found.setdefault(part, {})[key] = dict(zip(names, counts, strict=True))
    return {part: keys[""] if part == "total" else keys for part, keys in found.items()}


def kept(settings: Settings) -> dict[str, Any]:
    with transaction(settings) as session:
        found = system_counts(session)
    return {part: found[part] for part in PARTS}


def wait_for_folding(settings: Settings) -> None:
    """Whatever was committed before is in the counts; the first folding may have begun earlier."""

    def counted_at() -> object:
        with transaction(settings) as session:
            return session.scalar(text("SELECT counted_at FROM counting"))

    for _ in range(2):
        before = counted_at()
        ring(FOLD_COUNTS)
        wait_until(lambda before=before: counted_at() != before, "what happened is folded")  # type: ignore[misc]


def send_all(settings: Settings) -> None:
    """Seven events of several types, categories, audiences and two days."""
    service = NotificationService()
    service.send_role_notifications(["rh"], "A", "M")
    service.send_role_notifications(["rh", "tuteur"], "B", "M", notification_type="warning")
    service.send_role_notifications(["stagiaire"], "C", "M", notification_type="error")
    service.send_broadcast("D", "M", notification_type="success")
    service.create_event("system", audience=["user_13"], title="E", message="M", category="STAGE")
    service.create_event("system", audience=["role_tuteur"], title="F", message="M", category="DOCUMENT")
    with transaction(settings) as session:
        event = NotificationService(session).create_event("system", audience=["role_rh"], title="G", message="M")
        yesterday = "UPDATE notification_events SET created_at = created_at - interval '1 day' WHERE id = :id"
        session.execute(text(yesterday), {"id": event.id})
    ring(PROCESS_EVENT)


@pytest.fixture
def staff(company: Company) -> Company:
    """1 is rh, 2 rh and tuteur, 3 to 6 tuteurs, 7 to 12 stagiaires, 13 nobody; and an admin."""
    company.person("admin", "role_admin")
    company.person("1", "role_rh")
    company.person("2", "role_rh", "role_tuteur")
    company.people(["3", "4", "5", "6"], "role_tuteur")
    company.people([str(n) for n in range(7, 13)], "role_stagiaire")
    company.person("13")
    return company


@contextmanager
def browsers(system: System, staff: Company, **expected: int) -> Iterator[dict[str, LiveClient]]:
    """Browsers of people, `_1` of person 1; given once each has received and confirmed so many notifications."""
    with ExitStack() as stack:
        clients = {
            person: stack.enter_context(connect(system.base_url, staff.token(person.strip("_")))) for person in expected
        }

        def has_all(person: str) -> bool:
            clients[person].settle()
            shown = {frame["notification"]["id"] for frame in clients[person].received if "notification" in frame}
            return len(shown) == expected[person]

        send_all(staff.settings)
        for person in expected:
            wait_until(lambda person=person: has_all(person), f"all frames of {person}", explain=system.logs)  # type: ignore[misc]
            clients[person].settle()
        yield clients


def test_kept_counts_are_those_of_counting_for_real_and_stay_when_rows_go(
    system: System, staff: Company, settings: Settings
) -> None:
    def call(person: str, method: str, path: str) -> Any:
        address, headers = f"{system.base_url}{API}/{path}", staff.bearer(person)
        return httpx.request(method, address, headers=headers, timeout=30).raise_for_status().json()

    with browsers(system, staff, _1=4, _1_=4, _2=5, _3=3, _7=2, _13=2) as clients:
        wait_until(lambda: staff.count("notifications") == STORED, "all are stored", explain=system.logs)
        with transaction(settings) as session:
            a, b, c, d, *others = session.scalars(text("SELECT id FROM notification_events ORDER BY id"))
        clients["_1"].send(type="read", ids=[a, b])
        clients["_2"].send(type="seen", ids=[a, b, c, d, *others])
        clients["_3"].send(type="read", ids=[b])
        clients["_3"].send(type="seen", ids=[b, d])
        # Written a moment after it was said: before somebody deletes over REST what they have read.
        wait_until(lambda: counted(settings, SYSTEM, COUNTS)["total"]["read"] == 3, "what was read is written")
        for client in clients.values():
            client.settle()
    for person, method, path in (
        ("8", "POST", f"{c}/read/"),
        ("8", "POST", f"{c}/read/"),
        ("8", "DELETE", f"{c}/delete/"),
        ("9", "POST", "mark-all-read/"),
        ("10", "DELETE", "clear-all/"),
        ("1", "DELETE", f"{b}/delete/"),
    ):
        call(person, method, f"notifications/{path}")

    expected = {"sent": 7, "stored": STORED, "delivered": 16, "seen": 12, "read": 6, "deleted": 4}
    wait_until(
        lambda: counted(settings, SYSTEM, COUNTS)["total"] == expected,
        "all of it happened",
        explain=lambda: str(counted(settings, SYSTEM, COUNTS)),
    )
    real = counted(settings, SYSTEM, COUNTS)
    wait_for_folding(settings)
    assert kept(settings) == real
    assert {part: len(real[part]) for part in PARTS[1:]} == {"by_role": 4, "by_type": 4, "by_category": 3, "by_day": 2}

    for person in ("1", "2", "3", "8", "9", "10", "13"):
        own = call(person, "GET", "notifications/statistics/")
        mine = counted(settings, OWN, OWN_COUNTS, person=person)
        total = mine.pop("total", dict.fromkeys(OWN_COUNTS, 0))
        assert own == {
            **total,
            "read_rate": rate(total["read"], total["total"]),
            **{part: mine.get(part, {}) for part in PARTS[2:]},
        }

    assert call("admin", "DELETE", "people/2/")["notifications"] == 5
    wait_for_folding(settings)
    assert kept(settings) == real

    try:
        with transaction(settings) as session:
            (week,) = (one for one in list_partitions(session) if one.first_id <= a < one.end_id)
            assert drop_week(session, week)
            session.execute(text("DELETE FROM notification_events"))
        wait_for_folding(settings)
        assert kept(settings) == real
        assert call("1", "GET", "notifications/statistics/")["total"] == 0
    finally:
        with transaction(settings) as session:
            make_partitions(session)
