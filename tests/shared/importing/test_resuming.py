"""Imports that are killed, that meet another one, and that somebody watches."""

from __future__ import annotations

import json
import os
import pty
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Unavailable
from shared.importing.django_import import import_all
from shared.importing.django_source import open_source
from shared.importing.mapping import Mapping
from shared.settings import Settings
from tests.shared.importing.earlier import NOW, RULES, address_of, cli, differences, rows, run
from tests.shared.test_cli import ROOT
from tests.system import wait_until

PEOPLE, BROADCASTS, SMALL = 120, 10, 600
KILLS = 3
IN_SMALL_CHUNKS = "import shared.importing.django_source as s; s.CHUNK = 20; from shared.cli import main; main()"
EVERYTHING = (
    """SELECT external_id, name, email, is_active,
              ARRAY(SELECT group_name FROM memberships WHERE user_id = users.id ORDER BY 1) FROM users ORDER BY 1""",
    "SELECT name, version, title FROM notification_templates ORDER BY 1, 2",
    """SELECT idempotency_key, texts, data, recipient_count, ARRAY(SELECT jsonb_array_elements(audience)->>0 ORDER BY 1)
       FROM notification_events ORDER BY 1""",
    """SELECT external_id, idempotency_key, notifications.read_at, seen_at FROM notifications
       JOIN users ON users.id = recipient_id JOIN notification_events event ON event.id = event_id ORDER BY 1, 2""",
)


def fill(file: Path) -> None:
    """Broadcasts to everyone, and small events for two people each."""
    made = f"{NOW - timedelta(days=10):%Y-%m-%d %H:%M:%S}"
    with sqlite3.connect(file) as old:
        numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {})"
        old.execute(f"""
            {numbers.format(PEOPLE)} INSERT INTO accounts_user
                (id, username, first_name, last_name, email, role, password, is_superuser, is_staff, is_active, date_joined)
            SELECT 1000 + n, 'p' || n, '', '', '', 'role' || n % 3, '', 0, 0, 1, '{made}' FROM n
        """)
        old.execute(f"""
            {numbers.format(BROADCASTS * PEOPLE)} INSERT INTO notification_service_notification
                (recipient_id, title, message, notification_type, is_read, created_at)
            SELECT 1001 + n % {PEOPLE}, 'À tous ' || n / {PEOPLE}, '…', 'info', n % 2,
                   datetime('{made}', (n / {PEOPLE}) || ' hours') FROM n
        """)
        old.execute(f"""
            {numbers.format(2 * SMALL)} INSERT INTO notification_service_notification
                (recipient_id, event_id, title, message, notification_type, is_read, created_at)
            SELECT 1001 + n % {PEOPLE}, 1, 'Stage ' || n / 2, '…', 'info', 0, datetime('{made}', (n / 2) || ' minutes') FROM n
        """)


def start(
    here: Settings, source: Path | str, *options: str, code: str = IN_SMALL_CHUNKS, **more: Any
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, "import-django", "--source", address_of(source), *options]
    environment = {**os.environ, "COLUMNS": "200", "DATABASE_URL": here.database.replace("+psycopg2", "")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **more)


def test_killed_at_any_moment_and_run_again_the_result_is_exact(
    here: Settings, file: Path, wiped: Callable[[], None]
) -> None:
    fill(file)
    run(here, file)
    exact = [rows(here, statement) for statement in EVERYTHING]
    wiped()

    total = len(exact[-1])
    done = 0
    for _ in range(KILLS):
        table, stop_at = (
            ("users", PEOPLE // 3) if not done else ("notifications", done + random.randrange(1, total // 5))
        )

        def is_reached(table: str = table, stop_at: int = stop_at) -> bool:
            return bool(rows(here, f"SELECT count(*) FROM {table}")[0][0] >= stop_at)

        process = start(here, file, stdout=subprocess.DEVNULL)
        wait_until(is_reached, f"{stop_at} {table} are stored", seconds=60)
        process.kill()
        assert process.wait() == -9, "killed before it had ended"
        done = max(1, rows(here, "SELECT count(*) FROM notifications")[0][0])
        assert done < total
    process = start(here, file, "--json", stdout=subprocess.PIPE)
    report = json.loads(process.communicate()[0])
    assert process.returncode == 0
    assert 0 < report["notifications_added"] <= total - done
    assert [rows(here, statement) for statement in EVERYTHING] == exact
    assert differences(here, file) == []
    states = [
        details["state"]
        for (details,) in rows(here, "SELECT details FROM audit_log WHERE action = 'import.django' ORDER BY id")
    ]
    assert states == [*["begun"] * (KILLS + 1), "ended"]


def test_of_two_at_once_the_second_is_refused(here: Settings, file: Path) -> None:
    with open_source(address_of(file), Mapping()) as source:
        first = import_all(here, source, RULES)
        next(first)
        with pytest.raises(Unavailable, match="another import is running; wait for it"):
            run(here, file)
        second = cli(here, file)
        assert (second.returncode, second.stdout) == (1, "")
        assert second.stderr == "stagebloom: another import is running; wait for it\n"
        assert [report.notifications_added for report in first][-1] == 8
    assert run(here, file).notifications_added == 0
    assert differences(here, file) == []


def test_a_terminal_sees_how_far_it_is_and_a_program_gets_json_alone(here: Settings, file: Path) -> None:
    terminal, side = pty.openpty()
    process = start(here, file, "--json", stdout=subprocess.PIPE, stderr=side)
    os.close(side)
    seen = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        seen += part
    os.close(terminal)
    printed = process.communicate()[0]
    assert process.returncode == 0, seen
    assert "6/6" in seen.decode()
    assert "9/9" in seen.decode()
    assert json.loads(printed)["notifications_added"] == 8
