"""What is installed is what setup.cfg asks for, in versions that `make lock` wrote down with their hashes."""

from __future__ import annotations

import configparser
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.system import ROOT

LOCKS = {
    "requirements.lock": ("producer", "workers", "gateway", "embedded", "build"),
    "requirements-dev.lock": ("dev",),
}


def locked(name: str) -> list[tuple[str, str, str]]:
    """(package, version, the whole entry), of a lock file. Some have an older version for an older Python."""
    entries = re.split(r"^(?=\w)", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    pins = [Requirement(entry.split(" \\")[0]) for entry in entries]
    return [
        (canonicalize_name(pin.name), str(pin.specifier).removeprefix("=="), entry)
        for pin, entry in zip(pins, entries, strict=True)
    ]


@pytest.mark.parametrize("name", LOCKS)
def test_everything_that_is_asked_for_is_locked_in_a_version_that_fits(name: str) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    blocks = [setup["options"]["install_requires"], *(extras[extra] for extra in LOCKS[name])]
    asked = [Requirement(line) for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    versions: dict[str, list[str]] = {}
    for package, version, _ in locked(name):
        versions.setdefault(package, []).append(version)
    assert len(asked) > 10

    def fits(one: Requirement) -> bool:
        found = versions.get(canonicalize_name(one.name), [])
        return bool(found) and all(map(one.specifier.contains, found))

    assert [str(one) for one in asked if not fits(one)] == [], "run `make lock`"


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_installed_is_known_by_its_hash(name: str) -> None:
    """pip then takes no other file, whatever an index offers under that name and version."""
    assert [package for package, _, entry in locked(name) if "--hash=sha256:" not in entry] == []
