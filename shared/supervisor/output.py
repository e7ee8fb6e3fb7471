"""What the programs say, to the terminal and to DATA_DIR/logs, each line with its program's name.

Never: lets a file grow beyond bounds, or a closed terminal stop the service.
"""

from __future__ import annotations

import logging
import os
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

# Of each program; the one before is kept too.
LOG_BYTES = 10_000_000
SUPERVISOR = "stagebloom"
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)


class Output:
    """One writer for all. Colours only where a person looks and has not refused them (NO_COLOR)."""

    def __init__(self, stream: TextIO, directory: Path) -> None:
        self._stream: TextIO | None = stream
        self._directory = directory
        self._is_coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._files: dict[str, RotatingFileHandler] = {}

    def path(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def line(self, name: str, text: str, *, is_shown: bool = True) -> None:
        """One line of a program: into its file, and to the terminal if `is_shown`."""
        if name not in self._files:
            file = RotatingFileHandler(
                self.path(name), maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", errors="replace"
            )
            self._files[name] = file
        self._files[name].emit(logging.makeLogRecord({"msg": text}))
        if is_shown:
            prefix = f"{name:<10} | "
            if self._is_coloured:
                colour = COLOURS[list(self._files).index(name) % len(COLOURS)]
                prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
            self._write(prefix + text)

    def say(self, text: str) -> None:
        """One line of the supervisor itself."""
        self.line(SUPERVISOR, text)

    def announce(self, text: str) -> None:
        """The one line a person waits for: without a prefix, between empty lines, bold."""
        self._write(f"\n\x1b[1m{text}\x1b[0m\n" if self._is_coloured else f"\n{text}\n")

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:  # the terminal was closed, or `| head` has enough: the files go on
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream = None
