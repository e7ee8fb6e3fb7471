"""Real processes of the application that die at the worst moments, and, once a line is read, two that move.

Forked from one that has started Django and connected to nothing. Four times three stages are added in one
transaction, to each database twice: SIGKILL ends the process between our recording and taking away what is
recorded, then another between its commit and our recording.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import django
from django.db import connections, transaction

MOMENTS = ("after recording", "before recording")


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_delete(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    if sql.startswith("DELETE") and "notification_service_outbox" in sql:
        die()
    return execute(sql, params, many, context)


def add_stages(using: str, moment: str) -> None:
    from tests.producer.integrations.django_app.models import Stage, User

    with transaction.atomic(using=using):
        if moment == "before recording":
            transaction.on_commit(die, using=using)
        for n in range(3):
            tuteur = User.objects.using(using).get(role="tuteur")
            Stage.objects.using(using).create(title=f"{moment} {n}", tuteur=tuteur)
        connections[using].execute_wrappers.append(die_at_delete)


def forked(work: Callable[[], None]) -> int:
    """Run it in a process of its own; its id."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def ended(child: int) -> int:
    """0, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    from django.core.management import call_command

    django.setup()
    for using in ("default", "postgresql"):
        for moment in MOMENTS:
            child = forked(lambda using=using, moment=moment: add_stages(using, moment))  # type: ignore[misc]
            assert ended(child) == -signal.SIGKILL, (using, moment)
    print("killed", flush=True)
    sys.stdin.readline()
    both = [forked(lambda: call_command("deliver_notifications")) for _ in range(2)]
    assert [ended(child) for child in both] == [0, 0]


if __name__ == "__main__":
    main()
