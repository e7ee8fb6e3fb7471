"""Tables for people: at the terminal's width; piped, as wide as they need."""

from __future__ import annotations

from rich.console import Console, RenderableType

PIPED_COLUMNS = 240


def print_tables(*what: RenderableType) -> None:
    """Print tables to standard output."""
    console = Console()
    Console(width=None if console.is_terminal else PIPED_COLUMNS).print(*what)
