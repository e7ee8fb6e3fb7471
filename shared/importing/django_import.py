"""Brings over what the earlier system has: people, templates, then notifications, each chunk in a transaction.

A second run, or one after an interruption, adds what is missing and doubles nothing. Who is here already
stays as they are. Nothing is sent: no frame, no mail, no webhook. One import runs at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, exists, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared import audit, templates
from shared.audit import COMMAND_LINE, Actor
from shared.database import transaction
from shared.errors import Unavailable
from shared.importing.django_source import DjangoSource
from shared.importing.old_events import Events, OldEvent
from shared.importing.old_notifications import OldNotification, Reader
from shared.importing.old_people import read_people
from shared.importing.old_templates import read_template
from shared.importing.rules import Refused, Remarks, Rules
from shared.importing.store import Added, add_notifications, add_people, count_new
from shared.models import NotificationTemplate
from shared.partitions import make_week
from shared.settings import Settings

ACT = "import.django"  # in the audit log, when it begins and when it ends
# Held to the end by a transaction that does nothing else, which a server may otherwise take for forgotten.
PATIENCE = text("SET LOCAL idle_in_transaction_session_timeout = 0")
# So that the planner knows of thousands of new rows at once.
ANALYZE = text("ANALYZE users, groups, memberships, notification_events, notifications")
LOCK = text("SELECT pg_try_advisory_xact_lock(hashtext('stagebloom import'))")


@dataclass(slots=True)
class Report:
    """What there was and what became of it."""

    people: int = 0
    people_added: int = 0
    templates: int = 0
    templates_taken: int = 0
    templates_added: int = 0
    notifications: int = 0
    notifications_taken: int = 0
    notifications_added: int = 0
    notifications_marked_read: int = 0
    events_added: int = 0
    missing: list[str] = field(default_factory=list)
    remarks: Remarks = field(default_factory=Remarks)

    def as_dict(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name) for name in self.__slots__ if name != "remarks"}
        return {**numbers, "remarks": self.remarks.as_list()}


def import_all(settings: Settings, source: DjangoSource, rules: Rules, *, dry_run: bool = False) -> Iterator[Report]:
    """Import everything; yields the one report, which grows, after every chunk.

    A dry run reads and reports all of it and writes nothing; what would be added counts only people.
    Raises: Unavailable when another import is running.
    """
    report = Report(missing=source.missing)
    with transaction(settings) as guard:
        guard.execute(PATIENCE)
        if not guard.scalar(LOCK):
            raise Unavailable("another import is running; wait for it")
        if not dry_run:
            _note(settings, state="begun")
        for rows in source.people():
            _import_people(settings, rows, rules, report, dry_run=dry_run)
            yield report
        _import_templates(settings, source, rules, report, dry_run=dry_run)
        reader, events = Reader(rules, report.remarks), Events(source, report.remarks)
        weeks: set[int] = set()
        for rows in source.notifications():
            taken = _taken_notifications(reader, rows, report)
            old_events = events.look_up(one.event for one in taken)
            if taken and not dry_run:
                _make_weeks(settings, taken, weeks)
                added = _add_chunk(settings, taken, old_events)
                report.events_added += added.events
                report.notifications_added += added.notifications
                report.notifications_marked_read += added.marked_read
            yield report
        if not dry_run:
            with transaction(settings) as session:
                session.execute(ANALYZE)
            _note(settings, state="ended", people=report.people_added, notifications=report.notifications_added)
    yield report


def _note(settings: Settings, **details: Any) -> None:
    """In the audit log. At the beginning, too: what follows may be interrupted."""
    with transaction(settings) as session:
        audit.record(session, Actor(COMMAND_LINE), ACT, details=details)


def _import_people(settings: Settings, rows: list[Row[Any]], rules: Rules, report: Report, *, dry_run: bool) -> None:
    report.people += len(rows)
    people = read_people(rows, rules, report.remarks)
    with transaction(settings) as session:
        report.people_added += count_new(session, people) if dry_run else add_people(session, people)


def _import_templates(settings: Settings, source: DjangoSource, rules: Rules, report: Report, *, dry_run: bool) -> None:
    try:
        rows = source.templates()
    except Refused as reason:
        report.remarks.add(str(reason), "")
        return
    for row in rows:
        report.templates += 1
        try:
            draft = read_template(row, rules, settings)
        except Refused as reason:
            report.remarks.add(str(reason), f"{row.id}: {row.name}")
            continue
        report.templates_taken += 1
        if not dry_run:
            with transaction(settings) as session:
                report.templates_added += _add_template(session, draft, settings)


def _add_template(session: Session, draft: templates.TemplateDraft, settings: Settings) -> bool:
    """Save it as a version that is not active, unless one says the same."""
    same = {"name": draft.name, "locale": draft.locale, "title": draft.title, "message": draft.message}
    if session.scalar(select(exists(select(NotificationTemplate).filter_by(**same)))):
        return False
    saved = templates.save(session, draft, settings=settings)
    details = {"change": "saved", "version": saved.version}
    audit.record(session, Actor(COMMAND_LINE), templates.CHANGE, f"{saved.name}/{saved.locale}", details)
    return True


def _taken_notifications(reader: Reader, rows: list[Row[Any]], report: Report) -> list[OldNotification]:
    taken = []
    for row in rows:
        report.notifications += 1
        try:
            taken.append(reader.read(row))
        except Refused as reason:
            report.remarks.add(str(reason), row.id)
    report.notifications_taken += len(taken)
    return taken


def _add_chunk(settings: Settings, taken: list[OldNotification], old_events: Mapping[Any, OldEvent]) -> Added:
    try:
        with transaction(settings) as session:
            return add_notifications(session, settings, taken, old_events)
    except IntegrityError as error:
        cause = str(error.orig).partition("\n")[0]
        raise Unavailable(
            f"notifications that are older than NOTIFICATION_RETENTION_DAYS are dropped while they come; raise it ({cause})"
        ) from None


def _make_weeks(settings: Settings, taken: list[OldNotification], made: set[int]) -> None:
    """The partitions that these need; in transactions of their own, since a new one is locked until its commit."""
    for one in taken:
        week = (one.created_at.date().toordinal() - 1) // 7
        if week not in made:
            with transaction(settings) as session:
                make_week(session, one.created_at)
            made.add(week)
