"""docs/maintenance.md is true: its commands and its log lines exist."""

from __future__ import annotations

import re

import click
import pytest

from shared.cli import cli
from tests.system import ROOT

PAGE = (ROOT / "docs" / "maintenance.md").read_text()
COMMANDS = sorted(set(re.findall(r"stagebloom ([a-z-]+(?: [a-z]+)?)", PAGE)))
CODE = "\n".join(file.read_text() for part in ("workers", "gateway", "shared") for file in (ROOT / part).rglob("*.py"))
LINES = sorted(
    set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE.split("## Logs")[1])) - {"event_id", "user_id", "turn_ms", "age_ms"}
)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_exists(words: str) -> None:
    name, _, below = words.partition(" ")
    command = cli.commands[name]
    assert not below or not isinstance(command, click.Group) or below in command.commands


@pytest.mark.parametrize("line", LINES)
def test_every_log_line_exists(line: str) -> None:
    assert re.search(rf'log\.\w+\(\s*"{line}"', CODE)
