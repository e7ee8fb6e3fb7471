"""docs/specification-map.md is whole and true: every line and name of the specification, its code, its test."""

from __future__ import annotations

import ast
import json

from tests.structure.specification import (
    broken,
    has_test,
    is_heading,
    joined,
    named,
    read_lines,
    read_names,
    read_rows,
)

LINES = read_lines()
ROWS = read_rows()
NAMES = read_names()
ALL = [*ROWS, *NAMES.values()]


def test_every_line_has_exactly_one_row() -> None:
    wanted = [number for number, line in LINES.items() if not is_heading(line)]
    covered = [number for row in ROWS for number in range(row.first, row.last + 1) if number in LINES]
    assert sorted(set(wanted) - set(covered)) == [], "these lines have no row in docs/specification-map.md"
    assert len(covered) == len(set(covered)), "a line stands in two rows"
    assert set(covered) <= set(wanted)


def test_every_name_has_a_row() -> None:
    assert named(LINES) - set(NAMES) == set(), "these names have no row in docs/specification-map.md"
    assert set(NAMES) - named(LINES) == set(), "the specification does not write these names"


def test_every_row_quotes_its_lines() -> None:
    assert [row for row in ROWS if row.said != joined(LINES, row.first, row.last)] == []


def test_every_row_has_code_and_a_test_that_exists_or_says_why_not() -> None:
    assert [row for row in ALL if not row.tests and not row.note] == [], "expected a test, or a note"
    assert [row for row in ALL if row.note == "?"] == [], "expected a note that says something"
    assert [row for row in ALL if bool(row.code) != bool(row.tests)] == [], "code without a test, or a test of nothing"
    assert sorted({test for row in ALL for test in row.tests if not has_test(test)}) == []


def test_the_code_of_every_row_can_be_broken() -> None:
    """What `make map-check` does with it leaves files that can be read: its tests fail for the right reason."""
    for reference in sorted({reference for row in ALL for reference in row.code}):
        file, changed = broken(reference)
        if file.suffix == ".py":
            ast.parse(changed)
        if file.suffix == ".json":
            json.loads(changed)
