"""`stagebloom doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.text import Text

from shared.commands.tables import cell, visible
from shared.doctor import Finding, examine
from shared.settings import get_settings

MARKS = {"ok": ("✓", "green"), "note": ("•", "yellow"), "wrong": ("✗", "red")}


@click.command()
@click.option("--json", "as_json", is_flag=True, help='print JSON: {"healthy", "findings"}')
def doctor(as_json: bool) -> None:
    """Look at everything, say what is wrong and how to mend it.

    Servers, a WebSocket through PUBLIC_URL, roles, events, deliveries, queues, indexes, partitions, clocks, versions.
    Changes nothing. Exits with 1 when something is wrong.
    """
    console = Console(highlight=False)
    findings = []
    for finding in examine(get_settings()):
        findings.append(finding)
        if not as_json:
            _show(console, finding)
    faults = sum(finding.level == "wrong" for finding in findings)
    if as_json:
        click.echo(
            json.dumps(
                {"healthy": not faults, "findings": [finding.as_dict() for finding in findings]},
                indent=2,
                ensure_ascii=False,
                default=str,
            )
        )
    else:
        click.echo("\nAll is well." if not faults else f"\n{faults} wrong.")
    sys.exit(1 if faults else 0)


def _show(console: Console, finding: Finding) -> None:
    mark, colour = MARKS[finding.level]
    console.print(Text.assemble((f"{mark} ", colour), (f"{finding.check}: ", "bold"), visible(finding.message)))
    if finding.remedy:
        console.print(cell(f"    → {finding.remedy}"))
