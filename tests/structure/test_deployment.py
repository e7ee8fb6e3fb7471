"""docs/deployment.md is true: its unit runs every program, its settings load, its proxy leads to every endpoint."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from flask import Flask

from shared.errors import SettingsError
from shared.settings import load_settings
from shared.supervisor.procfile import read_procfile
from tests.system import ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text()
ENVIRONMENT, UNIT = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = read_procfile(ROOT / "Procfile")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_unit_runs_the_line_of_the_procfile(name: str) -> None:
    """As systemd reads it: the name for %i, a dollar for two. What would be executed is shown instead."""
    line = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)[0]
    shell = shlex.split(line.replace("%i", name).replace("$$", "$"))
    shell[-1] = shell[-1].replace("exec ", "printf '%s\\n' ")
    shown = subprocess.run(
        shell, cwd=ROOT, env={"PATH": "/usr/bin:/bin", "DATA_DIR": "/x"}, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines() == shlex.split(COMMANDS[name].replace("${DATA_DIR:-.data}", "/x"))


def test_the_commands_name_every_program() -> None:
    named = re.findall(r"stagebloom@\{([\w,]+)\}", PAGE)
    assert len(named) == 2
    assert all(set(names.split(",")) == set(COMMANDS) for names in named)


def test_the_settings_load_but_for_the_key_that_is_to_be_changed() -> None:
    given = dict(line.split("=", 1) for line in ENVIRONMENT.splitlines())
    with pytest.raises(SettingsError) as refused:
        load_settings(given)
    assert [fault.split("=")[0] for fault in refused.value.details["faults"]] == ["SECRET_KEY"]
    assert load_settings({**given, "SECRET_KEY": "k" * 64}).public_address == given["PUBLIC_URL"]


def test_the_proxy_leads_to_everything_that_a_page_asks_for(app: Flask) -> None:
    place = re.compile(re.findall(r"location ~ (\S+) ", PAGE)[0])
    elsewhere = {str(rule) for rule in app.url_map.iter_rules() if not place.match(str(rule))}
    assert elsewhere == {"/", "/favicon.ico", "/healthz", "/readyz"}
