"""Old against new, person by person: name, address, activity, role, stage, notifications, unread ones, words.

Both sides are read by the rules of the import, so what it refused is no difference. Only imported
notifications are compared: the new system may be in use already. Words are compared by a sum of hashes of
what each notification says. Writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from shared.database import transaction
from shared.ids import first_event_id_at
from shared.importing.django_source import DjangoSource
from shared.importing.old_notifications import OldNotification, Reader
from shared.importing.old_people import OldPerson, read_people
from shared.importing.rules import Refused, Remarks, Rules
from shared.importing.store import SOURCE
from shared.settings import Settings

HASH_DIGITS = 15  # of 4 bits: the most that PostgreSQL's bigint holds without a sign
SEPARATOR = "\x1f"
HERE = text(f"""
    SELECT users.external_id, users.name, users.email, users.is_active,
           ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id
                 AND (starts_with(group_name, 'role_') OR starts_with(group_name, 'stage_')) ORDER BY 1) AS groups,
           counted.notifications, counted.unread, counted.words
    FROM users CROSS JOIN LATERAL (
        SELECT count(*) AS notifications, count(*) FILTER (WHERE notifications.read_at IS NULL) AS unread,
               coalesce(sum(('x' || left(md5(convert_to(concat_ws('{SEPARATOR}',
                   jsonb_path_query_first(texts, '$.*.title') #>> '{{}}',
                   jsonb_path_query_first(texts, '$.*.message') #>> '{{}}',
                   notification_type), 'UTF8')), {HASH_DIGITS}))::bit({4 * HASH_DIGITS})::bigint), 0) AS words
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


@dataclass(slots=True)
class Inbox:
    """What the earlier system has for a person that can be taken."""

    notifications: int = 0
    unread: int = 0
    words: int = 0

    def add(self, one: OldNotification) -> None:
        said = SEPARATOR.join((one.title, one.message, one.notification_type))
        self.notifications += 1
        self.unread += one.read_at is None
        self.words += int(hashlib.md5(said.encode(), usedforsecurity=False).hexdigest()[:HASH_DIGITS], 16)


def compare(settings: Settings, source: DjangoSource, rules: Rules) -> Iterator[Chunk]:
    """Compare everyone, chunk by chunk, in bounded memory."""
    oldest = 0 if rules.since is None else first_event_id_at(rules.since)
    for rows in source.people():
        people = read_people(rows, rules, Remarks())
        ids = [one.external_id for one in people]
        inboxes = _old_inboxes(source, rules, ids)
        with transaction(settings) as session:
            found = session.execute(HERE, {"ids": ids, "oldest": oldest})
            new = {row.external_id: row for row in found}
        differences = [
            one
            for person in people
            for one in _differences(person, inboxes[person.external_id], new.get(person.external_id))
        ]
        yield Chunk(len(people), sum(inbox.notifications for inbox in inboxes.values()), differences)


def _differences(person: OldPerson, inbox: Inbox, here: Any) -> Iterator[Difference]:
    if here is None:
        yield Difference(person.external_id, "person", "there", "missing")
        return
    before = {
        "name": person.name,
        "email": person.email,
        "is_active": person.is_active,
        "groups": sorted(person.groups),
        "notifications": inbox.notifications,
        "unread": inbox.unread,
    }
    for what, value in before.items():
        if value != getattr(here, what):
            yield Difference(person.external_id, what, value, getattr(here, what))
    if inbox.notifications == here.notifications and inbox.words != here.words:
        yield Difference(person.external_id, "words", f"{inbox.words:x}", f"{int(here.words):x}")


def _old_inboxes(source: DjangoSource, rules: Rules, ids: list[str]) -> dict[str, Inbox]:
    inboxes = {one: Inbox() for one in ids}
    reader = Reader(rules, Remarks())
    for rows in source.notifications(of_people=ids):
        for row in rows:
            try:
                one = reader.read(row)
            except Refused:
                continue
            inboxes[one.recipient].add(one)
    return inboxes
