"""Archives: a week of notifications and their events as gzip-compressed JSON Lines, before it is dropped.

    {"archive": 1, "partition": "notifications_20261019", "from": …, "until": …, "events": 2, "notifications": 3}
    {"event": {"id": …, "texts": …, "audience": …, …}}
    {"event_id": …, "person": "42", "read_at": …}        one line a notification, below its event

Guarantees: written under a temporary name, read back and counted, and only then given its own name, so
an archive that can be seen is whole; memory stays bounded however large the week is; what a person
deleted stays marked so. People are named by the application's ids.

Never: changes the database.
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared.errors import InvalidInput, NotFound
from shared.partitions import Partition

SUFFIX = ".jsonl.gz"
FORMAT = 1
LINES_PER_FETCH = 5000  # some 0.6 MB
COMPRESSION = 4  # of 9: a third of the time of the default 9 for 8 % more bytes

COUNTS = """
    SELECT (SELECT count(*) FROM {partition}),
           (SELECT count(*) FROM notification_events WHERE id >= :first_id AND id < :end_id)
"""
# The lines are made by PostgreSQL: Python only compresses them.
EVENTS = text("""
    SELECT id, json_build_object('event', to_jsonb(event) - CAST('{search_text,content_hash,source_user_id}' AS text[])
        || jsonb_build_object('source_user', (SELECT external_id FROM users WHERE users.id = source_user_id)))::text
    FROM notification_events event WHERE id >= :first_id AND id < :end_id ORDER BY id
""")
NOTIFICATIONS = """
    SELECT event_id, json_strip_nulls(json_build_object(
        'event_id', event_id, 'person', external_id, 'delivered_at', delivered_at, 'seen_at', seen_at,
        'read_at', read_at, 'archived_at', notification.archived_at, 'deleted_at', deleted_at))::text
    FROM {partition} notification LEFT JOIN users ON users.id = recipient_id
    ORDER BY event_id, recipient_id
"""


@dataclass(frozen=True, slots=True)
class Archive:
    """What the first line of an archive says."""

    path: Path
    partition: str
    from_: datetime
    until: datetime
    events: int
    notifications: int

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "from": self.from_.isoformat(),
            "until": self.until.isoformat(),
            "events": self.events,
            "notifications": self.notifications,
            "bytes": self.path.stat().st_size,
        }


def write_archive(session: Session, partition: Partition, directory: Path) -> Archive:
    """Archive one partition, unless that is done already. The transaction must be new: it gets one snapshot.

    Raises: OSError when the directory can't be written to; RuntimeError when the file, read back, is not
    what was written. Nothing is left under the archive's name then.
    """
    session.execute(text("SET LOCAL work_mem = '64MB'"))  # the week is sorted by event
    bounds = {"first_id": partition.first_id, "end_id": partition.end_id}
    notifications, events = session.execute(text(COUNTS.format(partition=partition.name)), bounds).one()
    path = directory / f"{partition.name}{SUFFIX}"
    if path.exists():
        found = read_header(path)
        if (found.events, found.notifications) == (events, notifications):
            return found  # an earlier try wrote it and could not drop the partition
    head = {
        "archive": FORMAT,
        "partition": partition.name,
        "from": partition.starts_at.isoformat(),
        "until": partition.ends_at.isoformat(),
        "events": events,
        "notifications": notifications,
    }
    _write(path, head, _lines(session, partition, bounds))
    return read_header(path)


def _lines(session: Session, partition: Partition, bounds: dict[str, int]) -> Iterator[str]:
    """Each event, and below it its notifications; two server-side cursors, merged."""
    streamed = {"yield_per": LINES_PER_FETCH}
    events = iter(session.execute(EVENTS, bounds, execution_options=streamed))
    event = next(events, None)
    for event_id, line in session.execute(
        text(NOTIFICATIONS.format(partition=partition.name)), execution_options=streamed
    ):
        while event is not None and event[0] <= event_id:
            yield event[1]
            event = next(events, None)
        yield line
    if event is not None:
        yield event[1]
        yield from (line for _, line in events)


def _write(path: Path, head: dict[str, Any], lines: Iterable[str]) -> None:
    """Whole and verified, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink(missing_ok=True)  # of a worker that was killed: who writes holds retention's lock
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("xb") as raw:
            os.chmod(draft, 0o600)  # it holds what people were told
            with gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=COMPRESSION, filename="") as file:
                file.write(json.dumps(head, ensure_ascii=False).encode() + b"\n")
                for line in lines:
                    file.write(line.encode() + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        counted = _count(draft)
        if counted != (head["events"], head["notifications"]):
            raise RuntimeError(
                f"{path.name}: expected {head['events']} events and {head['notifications']} notifications, read back {counted[0]} and {counted[1]}"
            )
        draft.rename(path)
        _sync_directory(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _count(path: Path) -> tuple[int, int]:
    events = notifications = 0
    with gzip.open(path) as file:
        next(file)
        for line in file:
            if line.startswith(b'{"event" '):
                events += 1
            else:
                notifications += 1
    return events, notifications


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_archives(directory: Path) -> list[Archive]:
    """Every archive in the directory, oldest first."""
    return [read_header(path) for path in sorted(directory.glob(f"*{SUFFIX}")) if not path.name.startswith(".")]


def find_archive(directory: Path, name: str) -> Archive:
    """One archive by its name, such as `notifications_20261019`. Raises: NotFound."""
    path = directory / f"{name.removesuffix(SUFFIX)}{SUFFIX}"
    if path.parent != directory or not path.is_file():
        raise NotFound(f"archive: {name!r} is not in {directory}", field="archive", value=name)
    return read_header(path)


def read_header(path: Path) -> Archive:
    """What an archive holds. Raises: InvalidInput when it is none."""
    try:
        with gzip.open(path) as file:
            head = json.loads(next(file))
        if head["archive"] != FORMAT:
            raise ValueError(f"format {head['archive']}")
        return Archive(
            path,
            head["partition"],
            datetime.fromisoformat(head["from"]),
            datetime.fromisoformat(head["until"]),
            head["events"],
            head["notifications"],
        )
    except (OSError, EOFError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"archive: {path.name} can't be read: {error}", field="archive") from None


def read_archive(archive: Archive, person: str | None = None) -> Iterator[dict[str, Any]]:
    """Its notifications (of one person), oldest first: {"person", "read_at", …, "event": {…}}. Streams."""
    event: dict[str, Any] = {}
    for line in _read_lines(archive.path):
        if "event" in line:
            event = line["event"]
        elif person is None or line.get("person") == person:
            known = event if event.get("id") == line["event_id"] else {"id": line["event_id"]}
            yield {**{name: value for name, value in line.items() if name != "event_id"}, "event": known}


def read_events(archive: Archive) -> Iterator[dict[str, Any]]:
    """Its events, oldest first."""
    return (line["event"] for line in _read_lines(archive.path) if "event" in line)


def rewrite_archive(archive: Archive, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> bool:
    """Pass every line through `change` (None leaves it out); whether any was changed. For erasing people.

    The caller holds the retention's lock (`workers.retention.LOCK`), so that no archive appears meanwhile.
    """
    events = notifications = 0
    is_changed = False
    for line in _read_lines(archive.path):
        after = change(json.loads(json.dumps(line)))
        is_changed |= after != line
        events += after is not None and "event" in after
        notifications += after is not None and "event" not in after
    if is_changed:
        with gzip.open(archive.path) as file:
            head = {**json.loads(next(file)), "events": events, "notifications": notifications}
        changed = (change(line) for line in _read_lines(archive.path))
        _write(archive.path, head, (_line(line) for line in changed if line is not None))
    return is_changed


def _line(line: dict[str, Any]) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(" , ", " : "))


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path) as file:
        next(file)
        for line in file:
            yield json.loads(line)
