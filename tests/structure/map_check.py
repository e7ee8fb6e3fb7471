"""`make map-check`: break the code of each row of docs/specification-map.md in turn; one of its tests must fail.

Works on copies of the checkout, two at a time. Rows that name the same code and tests are tried once.
Usage: python -m tests.structure.map_check [words of references to try]
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.structure.specification import broken, read_names, read_rows
from tests.system import ROOT

COPIES = 2  # at a time: as many as the tests have cores
LIMIT_SECONDS = 600.0


def pairs() -> dict[str, set[str]]:
    """The tests of each piece of code."""
    found: dict[str, set[str]] = {}
    for row in (*read_rows(), *read_names().values()):
        for reference in row.code:
            found.setdefault(reference, set()).update(row.tests)
    return found


def copy_checkout(place: Path) -> Path:
    """What git knows of, as it is now."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, files.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, place / name)
    return place


def run_tests(copy: Path, tests: set[str]) -> set[str]:
    """Run them there; those that failed, or whose file could not even be read. Skipped is not failed."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", *sorted(tests)]
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return tests  # it hangs: whoever runs it notices
    if done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return tests  # nothing could be collected, or no server be started
    wrong = set(re.findall(r"^(?:FAILED|ERROR) (\S+?::\w+)", done.stdout, re.MULTILINE))
    return {test for test in tests if test in wrong}


def try_breaking(copies: queue.Queue[Path], reference: str, tests: set[str]) -> set[str]:
    """Break one piece of code; its tests that did not fail."""
    copy = copies.get()
    try:
        file, changed = broken(reference, copy)
        original = file.read_text()
        file.write_text(changed)
        try:
            return tests - run_tests(copy, tests)
        finally:
            file.write_text(original)
    finally:
        copies.put(copy)


def check_unbroken(copy: Path, tests: set[str]) -> list[str]:
    """The tests that fail, or are skipped, though nothing is broken: of what they hold nothing can be said."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "CI": "true"}  # where a skipped test is a failed one
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(COPIES), "-rA", "-p", "no:cacheprovider", *sorted(tests)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    outcomes = re.findall(r"^(PASSED|FAILED|ERROR) (\S+?::\w+)", done.stdout, re.MULTILINE)
    passed = {test for outcome, test in outcomes if outcome == "PASSED"}
    return sorted(tests - passed | {test for outcome, test in outcomes if outcome != "PASSED"})


def main(words: list[str]) -> int:
    """Try every reference (or those with one of `words` in them); 1 when breaking one is not noticed."""
    wanted = {code: tests for code, tests in pairs().items() if not words or any(word in code for word in words)}
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="map-check-") as place, ThreadPoolExecutor(COPIES) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for n in range(COPIES):
            copies.put(copy_checkout(Path(place) / str(n)))
        every = {test for tests in wanted.values() for test in tests}
        print(f"{len(wanted)} pieces of code, {len(every)} tests, which have to pass first", flush=True)
        if faulty := check_unbroken(Path(place) / "0", every):
            print("these don't pass as it is: " + ", ".join(faulty))
            return 1
        tries = {code: pool.submit(try_breaking, copies, code, tests) for code, tests in sorted(wanted.items())}
        for number, (code, attempt) in enumerate(tries.items(), 1):
            passed = sorted(attempt.result())
            unnoticed += bool(passed)
            outcome = "NOT NOTICED by " + ", ".join(passed) if passed else "noticed"
            print(f"{number}/{len(tries)} {code}: {outcome}", flush=True)
    print(f"{len(wanted) - unnoticed} of {len(wanted)} pieces of code are held by their tests")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
