"""docs/maintenance.md is true: its log lines exist."""

from __future__ import annotations

import re

import pytest

from tests.system import ROOT

PAGE = (ROOT / "docs" / "maintenance.md").read_text()
CODE = "\n".join(file.read_text() for part in ("workers", "gateway", "shared") for file in (ROOT / part).rglob("*.py"))
LINES = sorted(
    set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE.split("## Logs")[1])) - {"event_id", "user_id", "turn_ms", "age_ms"}
)


@pytest.mark.parametrize("line", LINES)
def test_every_log_line_exists(line: str) -> None:
    assert re.search(rf'log\.\w+\(\s*"{line}"', CODE)
