"""The documentation is true: its code runs, its links lead somewhere, its tables name what exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import click
import httpx
import pytest
from flask import Flask

from gateway.live.encoding import Kind
from gateway.live.protocol import HANDLERS
from producer.integrations.django.settings import NAMES
from shared.cli import cli
from shared.frames import KINDS
from shared.settings import Settings, environment_name
from tests.company import Company
from tests.system import ROOT, System, wait_until

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()


def blocks(page: str, language: str) -> list[str]:
    """The fenced code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        headings = (
            [
                re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
                for line in file.read_text().splitlines()
                if line.startswith("#")
            ]
            if anchor
            else []
        )
        assert not anchor or anchor in headings, target


def test_the_python_of_the_readme_runs_and_reaches_people(system: System, company: Company) -> None:
    company.person("1", "role_rh", "entreprise_1")
    company.person("2", "role_tuteur")
    sending, people = blocks(README, "python")
    exec(compile(sending, "README.md", "exec"), {})
    wait_until(lambda: company.count("notifications") == 3, "two events reach three inboxes", explain=system.logs)
    exec(compile(people, "README.md", "exec"), {})
    assert company.count("memberships") == 3 + 2


def test_the_shell_of_the_readme_runs_and_reaches_people(system: System, company: Company) -> None:
    """As printed, but for the port; curl itself is replaced, so that it need not be installed."""
    company.person("1", "role_rh")
    company.person("2", "role_stagiaire")
    lines = [line for block in blocks(README, "sh")[1:] for line in block.replace("\\\n", " ").splitlines()]
    assert [line.split()[0].split("=")[0] for line in lines] == ["TOKEN", "curl", ".venv/bin/stagebloom"]

    token = run(lines[0].removeprefix("TOKEN=$(").removesuffix(")")).strip()
    _, address, *options = shlex.split(lines[1].replace("$TOKEN", token))
    headers = dict(
        value.split(": ", 1) for flag, value in zip(options[::2], options[1::2], strict=True) if flag == "-H"
    )
    body = options[options.index("-d") + 1]
    answer = httpx.post(address.replace("http://127.0.0.1:8000", system.base_url), content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    run(lines[2])
    wait_until(lambda: company.count("notifications") == 2, "both events reach the stagiaire", explain=system.logs)


def run(command: str) -> str:
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/stagebloom"
    done = subprocess.run(
        [Path(sys.executable).parent / "stagebloom", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_endpoint_is_documented_and_every_documented_one_exists(app: Flask) -> None:
    table = ARCHITECTURE.split("## REST")[1].split("\n## ")[0]
    documented = set()
    for cell in re.findall(
        r"`(?:(?:GET|POST|PUT|DELETE) )?(/?[\w{}/-]+/|/healthz|/readyz|/api/docs|/api/openapi.json)`", table
    ):
        cell = re.sub(r"{\w+}", "{id}", cell)
        documented.add(cell if cell.startswith("/") else f"/api/notifications/{cell}")
    documented.discard("/api/notifications/")
    exists = {re.sub(r"<(?:\w+:)?\w+>", "{id}", str(rule)) for rule in app.url_map.iter_rules()}
    pages = {"/", "/favicon.ico", "/static/{id}", "/api/demo/", "/ws/notifications/"}
    assert documented == exists - pages


def test_every_setting_that_the_documentation_names_exists() -> None:
    of_django = {*NAMES, "INSTALLED_APPS", "LANGUAGE_CODE", "NOTIFICATION_SETTINGS", "USE_TZ"}
    known = {environment_name(name) for name in Settings.model_fields} | of_django | {"CHANNEL_LAYERS", "CI"}
    # The map names constants of the code, too; it has a test of its own.
    pages = [page for page in PAGES if page.name != "specification-map.md"]
    named = {name for page in pages for name in re.findall(r"\b[A-Z]{2,}(?:_[A-Z]+)+\b", page.read_text())}
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    code = "\n".join(code_of(page.read_text()))
    for words in re.findall(r"(?<![\w-])stagebloom((?: [\w.-]+)+)", code):
        command: click.Command = cli
        for word in words.split():
            if word.startswith("--"):
                assert word in {option for one in command.params for option in one.opts} | {"--help", "--version"}, (
                    words
                )
            elif isinstance(command, click.Group) and word.islower():
                assert word in command.commands, words
                command = command.commands[word]


def code_of(page: str) -> list[str]:
    """What stands in fences and between backticks."""
    return [one for pair in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", page, re.DOTALL) for one in pair if one]


def test_every_test_that_holds_a_guarantee_exists() -> None:
    table = ARCHITECTURE.split("## Guarantees")[1].split("\n## ")[0]
    paths = re.findall(r"`(tests/[\w/.]+)`", table)
    assert len(paths) >= 10
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    ("direction", "frames"), [("from the gateway", (*get_args(Kind), *KINDS)), ("to the gateway", HANDLERS)]
)
def test_every_frame_is_documented_and_every_documented_one_exists(direction: str, frames: Iterable[str]) -> None:
    table = ARCHITECTURE.split(f"| {direction} |")[1].split("\n\n")[0]
    first_cells = " ".join(re.findall(r"^\|(.*?)\|", table, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", first_cells)) == sorted(frames)
