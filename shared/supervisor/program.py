"""One program that is kept running, and how long it rests before it is started again."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.processes import Child, fork, spawn

# Seconds between one death and the next start: the first is an accident, the seventh a fault.
DELAYS_SECONDS = (0.5, 1, 2, 4, 8, 16, 30)
# What lived that long was well; its next death is the first again.
CALM_SECONDS = 60.0
LONGEST_LINE_BYTES = 65_536


@dataclass
class Program:
    """A command that is run again and again; or, once, a step: `is_kept=False`, mostly a function."""

    name: str
    command: list[str] | Callable[[], None]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    stop_signal: signal.Signals = signal.SIGTERM
    is_kept: bool = True
    # Servers talk much and to nobody: into their file only.
    is_shown: bool = True

    process: Child | None = None
    output: int | None = None
    returncode: int | None = None
    deaths: int = 0
    start_at: float | None = None
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=10))
    _started_at: float = 0.0
    _rest: bytes = b""

    def start(self) -> None:
        """Start it; `output` is where to read what it says, without blocking."""
        self.output, write_end = os.pipe()
        os.set_blocking(self.output, False)
        try:
            if callable(self.command):
                self.process = fork(self.command, write_end, self.stop_signal)
            else:
                self.process = spawn(
                    self.command,
                    environment=self.environment,
                    directory=self.directory,
                    output=write_end,
                    stop_signal=self.stop_signal,
                )
        finally:
            os.close(write_end)
        self.start_at, self.returncode, self._started_at = None, None, time.monotonic()

    def read(self) -> tuple[list[str], bool]:
        """The lines it said since, and whether there may be more later."""
        if self.output is None:
            return [], False
        try:
            data = os.read(self.output, LONGEST_LINE_BYTES)
        except BlockingIOError:
            return [], True
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > LONGEST_LINE_BYTES):
            lines, self._rest = [*lines, self._rest], b""
        texts = [line.decode(errors="replace").rstrip("\r") for line in lines]
        self.last_lines.extend(texts)
        return texts, bool(data)

    def close_output(self) -> None:
        if self.output is not None:
            os.close(self.output)
            self.output = None

    def rest(self) -> float:
        """It died: plan its next start. Returns the seconds until then."""
        if time.monotonic() - self._started_at > CALM_SECONDS:
            self.deaths = 0
        delay = DELAYS_SECONDS[min(self.deaths, len(DELAYS_SECONDS) - 1)]
        self.deaths += 1
        self.start_at = time.monotonic() + delay
        return delay
