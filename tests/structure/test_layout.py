"""What the project is made of: its parts, its packages and its language, as setup.cfg says them."""

from __future__ import annotations

import re
from configparser import ConfigParser

from tests.system import ROOT

PARTS = ("producer", "workers", "gateway", "shared")
FILES = ("celeryconfig.py", "Procfile", "setup.cfg")
PACKAGES = {"celery", "kombu", "sqlalchemy", "psycopg2-binary", "flask", "flask-sock", "redis", "pytest"}
OTHER_LANGUAGES = {".js", ".mjs", ".ts", ".tsx", ".c", ".go", ".rs", ".rb", ".java", ".php", ".sh"}

SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def names(requirements: list[str]) -> set[str]:
    """`celery[redis] ~= 5.7.0` is celery."""
    return {re.split(r"[^\w.-]", line)[0].lower() for line in requirements if line}


def test_the_packages_of_the_design_are_what_setup_cfg_asks_for() -> None:
    extras = [line for lines in SETUP["options.extras_require"].values() for line in lines.splitlines()]
    asked = names(SETUP["options"]["install_requires"].splitlines() + extras)
    assert PACKAGES - asked == set()


def test_the_top_level_holds_the_parts_and_setup_cfg_installs_them() -> None:
    assert [name for name in (*PARTS, "tests") if not (ROOT / name / "__init__.py").is_file()] == []
    assert [name for name in FILES if not (ROOT / name).is_file()] == []
    assert SETUP["options.packages.find"]["include"].split() == [f"{part}*" for part in PARTS]
    assert "celeryconfig" in SETUP["options"]["py_modules"].splitlines()


def test_everything_that_runs_outside_a_browser_is_python() -> None:
    found = [file for part in PARTS for file in (ROOT / part).rglob("*") if file.suffix in OTHER_LANGUAGES]
    assert found
    assert [file for file in found if not file.is_relative_to(ROOT / "gateway" / "static")] == []
    assert SETUP["options"]["python_requires"] == ">=3.11"
