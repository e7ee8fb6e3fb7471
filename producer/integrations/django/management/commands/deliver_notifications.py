"""`python manage.py deliver_notifications`: moves what waits in the application's database, and shows it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, close_old_connections, connections
from sqlalchemy.exc import SQLAlchemyError

from producer.integrations.django.models import OutboxEntry
from producer.integrations.django.moving import move
from producer.integrations.django.reading import cause
from shared.errors import NotificationError

TURN_SECONDS = 60.0  # to wait for another process that moves
SHOWN = 50  # refused entries
ALL = "all"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise ValueError
    return seconds


_seconds.__name__ = "seconds from 0.1 to 3600"  # as argparse says what was expected


class Command(BaseCommand):
    """For cron, or with --watch as a process of its own. Safe to run beside the application and itself."""

    help = "Move what committed transactions have to say to the notification service, and show what was refused."

    def add_arguments(self, parser: CommandParser) -> None:
        """One of the four does something else than moving once."""
        parser.add_argument("--database", choices=list(connections), help="only this one of DATABASES")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--watch", type=_seconds, metavar="SECONDS", help="go on, and look every SECONDS")
        what.add_argument("--show", action="store_true", help="move nothing")
        what.add_argument("--retry", nargs="+", metavar="ID", help="try refused ones again; 'all' for all")
        what.add_argument("--drop", nargs="+", metavar="ID", help="delete refused ones for good; 'all' for all")

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises: CommandError saying what is away or wrong; nothing is lost by that."""
        databases = self._databases(options["database"])
        if options["watch"] is not None:
            with contextlib.suppress(KeyboardInterrupt):
                self._watch(databases, options["watch"])
            return
        if options["retry"]:
            for alias, entries in self._refused(databases, options["retry"]):
                self.stdout.write(f"{alias}: {entries.update(refused_at=None, error='')} to try again")
        if options["drop"]:
            for alias, entries in self._refused(databases, options["drop"]):
                self.stdout.write(f"{alias}: {entries.delete()[0]} dropped")
        for alias in databases:
            if not options["show"] and not options["drop"]:
                self._move(alias)
            self._show(alias)

    def _databases(self, chosen: str | None) -> list[str]:
        """Those of DATABASES that have the table."""
        table = OutboxEntry._meta.db_table
        try:
            aliases = [chosen] if chosen else list(connections)
            found = [alias for alias in aliases if table in connections[alias].introspection.table_names()]
        except DatabaseError as error:
            raise CommandError(cause(error)) from error
        if not found:
            raise CommandError(
                f"no table {table} in {', '.join(aliases)}: run `manage.py migrate notification_service`"
            )
        return found

    def _refused(self, databases: Sequence[str], ids: Sequence[str]) -> list[tuple[str, Any]]:
        """The chosen refused entries of each database."""
        refused = {alias: OutboxEntry.objects.using(alias).exclude(refused_at=None) for alias in databases}
        if list(ids) == [ALL]:
            return list(refused.items())
        if len(databases) > 1:
            raise CommandError(f"ids are those of one database: add --database {' or '.join(databases)}")
        if not all(one.isdecimal() for one in ids):
            raise CommandError(f"expected ids of refused entries, or {ALL!r} alone, got {' '.join(ids)}")
        return [(alias, entries.filter(pk__in=list(map(int, ids)))) for alias, entries in refused.items()]

    def _move(self, alias: str) -> None:
        try:
            moved = move(alias, TURN_SECONDS)
        except (NotificationError, SQLAlchemyError, DatabaseError) as error:
            raise CommandError(f"{alias}: {cause(error)}") from error
        self.stdout.write(f"{alias}: {moved.recorded} recorded, {moved.refused} refused")

    def _show(self, alias: str) -> None:
        """How much waits since when, and what was refused and why."""
        entries = OutboxEntry.objects.using(alias)
        waiting = entries.filter(refused_at=None).order_by("pk")
        oldest = waiting.first()
        if oldest is not None:
            self.stdout.write(
                f"{alias}: {waiting.count()} waiting, the oldest since {oldest.created_at:%Y-%m-%d %H:%M:%S%z}"
            )
        refused = entries.exclude(refused_at=None).order_by("pk")
        for entry in refused[:SHOWN]:
            self.stdout.write(f"{alias}: {entry}: {entry.error}")
        count = refused.count()
        if count:
            self.stdout.write(f"{alias}: {count} refused; --retry or --drop ID … or all")

    def _watch(self, databases: Sequence[str], seconds: float) -> None:
        """Until it is stopped. What is away now is there again later."""
        while True:
            for alias in databases:
                try:
                    moved = move(alias, TURN_SECONDS)
                except (NotificationError, SQLAlchemyError, DatabaseError) as error:
                    self.stderr.write(f"{alias}: {cause(error)}")
                    close_old_connections()
                else:
                    if moved.recorded or moved.refused:
                        self.stdout.write(f"{alias}: {moved.recorded} recorded, {moved.refused} refused")
            time.sleep(seconds)
