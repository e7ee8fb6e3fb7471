"""The whole system as it is shipped: every process of the Procfile, on the servers of the tests.

Started once per pytest process (about 5 s on two cores). A test may kill processes and start them
again; what is missing is started before the next test.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from shared.doorbell import ring
from shared.processes import describe_exit, signal_group, spawn
from shared.redis import connect
from shared.settings import Settings
from shared.tasks import BULK, EVENTS, PROCESS_EVENT, STORE_BATCHES

ROOT = Path(__file__).parent.parent
START_SECONDS = 60.0  # a loaded machine with two cores; normally 5
STOP_SECONDS = 20.0
LOG_LINES = 40


def wait_until(
    is_true: Callable[[], object], what: str, seconds: float = 20.0, explain: Callable[[], str] = str
) -> None:
    """Wait for a condition; fails saying what was waited for, never sleeps longer than needed."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}\n{explain()}")
        time.sleep(0.01)


class System:
    """Gateway, workers and beat. `base_url` is where the gateway answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._commands = dict(_procfile())
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start_missing(self) -> None:
        """Start what does not run, and wait until all of it works."""
        missing = [name for name in self._commands if not self.is_running(name)]
        for name in missing:
            self.start(name)
        if missing:
            self.wait_until_ready()

    def start(self, name: str) -> None:
        """Start `web`, `worker`, `bulk` or `beat`; does not wait."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PORT": str(self.port),
            "PYTHONUNBUFFERED": "1",
        }
        with self._log(name).open("ab") as log:
            command = ["sh", "-c", f"exec {self._commands[name]}"]
            self._processes[name] = spawn(command, environment=environment, directory=ROOT, output=log)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process and its children; after SIGKILL and SIGTERM wait for its end."""
        process = self._processes[name]
        signal_group(process.pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(STOP_SECONDS)
            signal_group(process.pid, signal.SIGKILL)  # children that outlived it

    def is_running(self, name: str) -> bool:
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def process_id(self, name: str) -> int:
        return self._processes[name].pid

    def wait_until_ready(self) -> None:
        """Until the gateway says ready and both workers have taken a doorbell."""
        ring(PROCESS_EVENT, self.settings)
        ring(STORE_BATCHES, self.settings)
        with connect(self.settings) as client:
            wait_until(
                lambda: self._all_live() and client.llen(EVENTS) == client.llen(BULK) == 0,
                "workers take messages",
                START_SECONDS,
                self.logs,
            )
        wait_until(lambda: self._all_live() and self._is_ready(), "the gateway is ready", START_SECONDS, self.logs)

    def logs(self) -> str:
        """The last lines of every process: what a failure shows."""
        return "\n".join(f"--- {name}\n{self.log(name)}" for name in self._processes)

    def log(self, name: str, lines: int = LOG_LINES) -> str:
        """The last lines of one process."""
        return "\n".join(self._log(name).read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End all processes, gently first."""
        for process in self._processes.values():
            signal_group(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            signal_group(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()

    def __enter__(self) -> Self:
        self._log("web").parent.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _all_live(self) -> bool:
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise AssertionError(f"{name} ended ({describe_exit(process.returncode)}):\n{self.log(name)}")
        return True

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _log(self, name: str) -> Path:
        return self.settings.data_dir / "logs" / f"{name}.log"


def _procfile() -> list[tuple[str, str]]:
    lines = (line.partition(":") for line in (ROOT / "Procfile").read_text().splitlines() if line.strip())
    return [(name, command.strip()) for name, _, command in lines]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
