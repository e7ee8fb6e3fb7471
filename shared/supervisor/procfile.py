"""The Procfile: one `name: command` a line, as Heroku's and everyone's since."""

from __future__ import annotations

import re
from pathlib import Path

from shared.errors import SettingsError

_LINE = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")


def read_procfile(path: Path) -> dict[str, str]:
    """The commands by name, in their order. Lines that are empty or begin with # say nothing.

    Raises: SettingsError naming the line that can't be read.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; run this in the checkout") from None
    commands: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.rstrip())
        if found is None or found["name"] in commands:
            raise SettingsError(f"{path}:{number}: expected `name: command`, each name once, got {line!r}")
        commands[found["name"]] = found["command"]
    if not commands:
        raise SettingsError(f"{path}: expected at least one `name: command`")
    return commands
