"""`stagebloom selftest`: the document's test script, on the running system."""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import sys
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from shared.settings import get_settings

MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("–", "yellow")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help='print JSON: {"passed", "steps"}')
def selftest(as_json: bool) -> None:
    """Try the running system out with made-up people.

    Methods, roles, WebSocket, inbox, search and events.

    Nobody real is notified, and everything made is removed afterwards, also after Ctrl-C.
    Exits with 1 when a step fails.
    """
    signal.signal(signal.SIGTERM, _interrupt)  # a service manager's stop cleans up as Ctrl-C does
    # By its name: it is a caller like any other, so it stands with what callers use, which shared never imports.
    run_selftest = importlib.import_module("producer.selftest").run_selftest
    console = Console(highlight=False)
    steps = []
    with contextlib.closing(run_selftest(get_settings())) as running:
        for number, step in enumerate(running, 1):
            steps.append(step)
            if not as_json:
                _show(console, number, step)
    is_passed = all(step.status != "failed" for step in steps)
    if as_json:
        shown = [
            {"name": step.name, "status": step.status, "seconds": step.seconds, "seen": list(step.seen)}
            for step in steps
        ]
        click.echo(json.dumps({"passed": is_passed, "steps": shown}, indent=2, ensure_ascii=False))
    else:
        click.echo(
            "\nAll steps passed; what was made is removed."
            if is_passed
            else "\nSome steps failed; what was made is removed."
        )
    sys.exit(0 if is_passed else 1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(console: Console, number: int, step: Any) -> None:
    mark, colour = MARKS[step.status]
    console.print(Text.assemble((f"{mark} ", colour), (f"{number}. {step.name}", "bold"), f"  {step.seconds:.2f} s"))
    for line in step.seen:
        console.print(Text(f"     {line}"))
