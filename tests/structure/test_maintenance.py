"""docs/maintenance.md is true: its log lines exist, and who takes --json."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from shared.cli import cli
from tests.system import ROOT

PAGE = (ROOT / "docs" / "maintenance.md").read_text()
CODE = "\n".join(file.read_text() for part in ("workers", "gateway", "shared") for file in (ROOT / part).rglob("*.py"))
LINES = sorted(
    set(re.findall(r"`([a-z]+_[a-z_]+)`", PAGE.split("## Logs")[1])) - {"event_id", "user_id", "turn_ms", "age_ms"}
)


@pytest.mark.parametrize("line", LINES)
def test_every_log_line_exists(line: str) -> None:
    assert re.search(rf'log\.\w+\(\s*"{line}"', CODE)


def test_the_commands_that_take_json_are_those_that_it_names() -> None:
    said = PAGE.split("`--json` is taken by")[1].split(";")[0]
    named = set()
    for command in re.findall(r"`([\w |-]+)`", said):
        group, _, names = command.partition(" ")
        named |= {f"{group} {name}" for name in names.split("|")} if names else {group}
    assert named == set(with_json(cli))


def with_json(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from with_json(command, f"{before}{name} ")
        elif any("--json" in one.opts for one in command.params):
            yield before + name
