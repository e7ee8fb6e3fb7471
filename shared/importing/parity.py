"""Old against new, person by person: name, address, activity, role, stage, notifications, unread ones.

Both sides are read by the rules of the import, so what it refused is no difference. Only imported
notifications are compared: the new system may be in use already. Writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from shared.database import transaction
from shared.ids import first_event_id_at
from shared.importing.django_import import SOURCE
from shared.importing.django_source import DjangoSource
from shared.importing.old_rows import OldPerson, Reader, Refusals, Refused, Rules, read_person
from shared.settings import Settings

HERE = text(f"""
    SELECT users.external_id, users.name, users.email, users.is_active,
           ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id
                 AND (starts_with(group_name, 'role_') OR starts_with(group_name, 'stage_')) ORDER BY 1) AS groups,
           counted.notifications, counted.unread
    FROM users CROSS JOIN LATERAL (
        SELECT count(*) AS notifications, count(*) FILTER (WHERE notifications.read_at IS NULL) AS unread
        FROM notifications JOIN notification_events event ON event.id = event_id AND event.source = '{SOURCE}'
        WHERE recipient_id = users.id AND deleted_at IS NULL AND event_id >= :oldest
    ) AS counted
    WHERE external_id = ANY(CAST(:ids AS text[]))
""")


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one person that is not the same."""

    person: str
    what: str
    old: Any
    new: Any


@dataclass(slots=True)
class Chunk:
    """Some people who were compared, and what differs."""

    people: int
    notifications: int
    differences: list[Difference]


def compare(settings: Settings, source: DjangoSource, rules: Rules) -> Iterator[Chunk]:
    """Compare everyone, chunk by chunk, in bounded memory."""
    ignored = Refusals()
    for rows in source.people():
        old = {}
        for row in rows:
            try:
                old[row.id] = read_person(row, ignored)
            except Refused:
                continue
        totals, unread = _old_counts(source, rules, list(old))
        oldest = 0 if rules.since is None else first_event_id_at(rules.since)
        with transaction(settings) as session:
            found = session.execute(HERE, {"ids": [one.external_id for one in old.values()], "oldest": oldest})
            new = {row.external_id: row for row in found}
        differences = []
        for person in old.values():
            here = new.get(person.external_id)
            before = _as_dict(person, totals[person.external_id], unread[person.external_id])
            if here is None:
                differences.append(Difference(person.external_id, "person", "there", "missing"))
                continue
            now = here._asdict()
            differences += [
                Difference(person.external_id, what, value, now[what])
                for what, value in before.items()
                if now[what] != value
            ]
        yield Chunk(len(old), sum(totals.values()), differences)


def _as_dict(person: OldPerson, notifications: int, unread: int) -> dict[str, Any]:
    return {
        "name": person.name,
        "email": person.email,
        "is_active": person.is_active,
        "groups": sorted(person.groups),
        "notifications": notifications,
        "unread": unread,
    }


def _old_counts(source: DjangoSource, rules: Rules, ids: list[Any]) -> tuple[Counter[str], Counter[str]]:
    """Notifications and unread ones of these people that can be taken."""
    totals: Counter[str] = Counter()
    unread: Counter[str] = Counter()
    reader = Reader(rules)
    for rows in source.notifications(of_people=ids):
        for row in rows:
            try:
                taken = reader.read(row)
            except Refused:
                continue
            totals[taken.recipient] += 1
            unread[taken.recipient] += taken.read_at is None
    return totals, unread
