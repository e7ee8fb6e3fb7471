"""Tables for people: at the terminal's width, ids, statuses and times always whole; piped, as wide as they need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from shared.texts import NOT_IN_MESSAGE

PIPED_COLUMNS = 240
GAP = 2  # columns between two fields
READABLE = 12  # columns that a folded text needs at least
INDENT = 4


@dataclass(frozen=True, slots=True)
class Field:
    """A column. What is not `free` is never cut or folded.

    `spare` ones are left out of a narrow terminal, the highest number first. A text `below` has lines of
    its own under its row when it does not fit beside it.
    """

    name: str
    free: bool = False
    spare: int = 0
    below: bool = False


def cell(value: Any) -> Text:
    """A cell that shows what stands in a value: brackets are no markup, an escape sequence moves no cursor."""
    return Text(visible(value))


def visible(value: Any) -> str:
    """A value as text, its control characters written out; None is nothing."""
    return NOT_IN_MESSAGE.sub(_written_out, "" if value is None else str(value))


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def print_tables(*what: RenderableType) -> None:
    """Print tables to standard output."""
    _console().print(*what)


def print_rows(fields: Sequence[Field], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """Print rows, a cell for each field; None is an empty cell, and brackets in a text are no markup."""
    texts = [[visible(value) for value in row] for row in rows]
    console = _console()
    widths = [max(cell_len(line) for text in (field.name, *cells) for line in text.split("\n") or [""])
              for field, cells in zip(fields, zip(*texts, strict=True) if texts else [()] * len(fields), strict=True)]  # fmt: skip
    shown = list(range(len(fields)))
    below = [n for n in shown if fields[n].below]
    if below and _needs(fields, widths, shown, 0) > console.width:
        shown = [n for n in shown if n not in below]
    else:
        below = []
    left_out = []
    while _needs(fields, widths, shown, READABLE) > console.width and any(fields[n].spare for n in shown):
        last = max(shown, key=lambda n: fields[n].spare)
        shown.remove(last)
        if any(row[last] for row in texts):
            left_out.append(fields[last].name)
    console.width = max(console.width, _needs(fields, widths, shown, READABLE))
    if title:
        console.print(Text(title, style="italic"))
    if below:
        _print_with_lines_below(console, fields, widths, shown, below, texts)
    else:
        columns = [Column(fields[n].name, no_wrap=not fields[n].free, overflow="fold") for n in shown]
        table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for row in texts:
            table.add_row(*(Text(row[n]) for n in shown))
        console.print(table)
    if left_out:
        click.echo(f"too narrow for: {', '.join(left_out)}", err=True)


def say_more(shown: int) -> None:
    """Say that a list goes on, where it does not disturb what is piped."""
    click.echo(f"{shown} shown; more with --limit", err=True)


def moment(value: datetime | str | None) -> str:
    """A time to the second, as a table shows it; an ISO 8601 text is one too."""
    return "" if value is None else str(value)[:19].replace("T", " ")


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    return console


def _needs(fields: Sequence[Field], widths: Sequence[int], shown: Sequence[int], readable: int) -> int:
    """Columns that these fields take, texts folded to `readable` columns; 0: not folded."""
    of_field = [min(widths[n], readable) if fields[n].free and readable else widths[n] for n in shown]
    return sum(of_field) + GAP * (len(shown) - 1)


def _print_with_lines_below(
    console: Console,
    fields: Sequence[Field],
    widths: Sequence[int],
    shown: Sequence[int],
    below: Sequence[int],
    rows: Sequence[Sequence[str]],
) -> None:
    def line(cells: Sequence[str]) -> Text:
        return Text((" " * GAP).join(set_cell_size(cells[n], widths[n]) for n in shown).rstrip(), no_wrap=True)

    head = line([field.name for field in fields])
    head.stylize("bold")
    console.print(head)
    for row in rows:
        console.print(line(row))
        for n in below:
            if row[n]:
                console.print(Padding(Text(row[n], style="dim", overflow="fold"), (0, 0, 0, INDENT), expand=False))
