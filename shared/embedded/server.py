"""What both embedded servers have in common: how one is run, asked and found again after a crash."""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from shared.errors import SettingsError

# Below the ports the kernel lends to outgoing connections (32768 and up), so that a remembered port
# is still ours after a restart.
PORTS = range(20_000, 30_000)


@dataclass(frozen=True)
class ServerProgram:
    """A server ready to be run: by EmbeddedServers itself, or by the supervisor."""

    name: str
    command: list[str]
    stop_signal: signal.Signals
    is_ready: Callable[[], bool] = field(repr=False)
    environment: dict[str, str] = field(
        default_factory=lambda: {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C",
            "TZ": "UTC",
        }
    )
    # Not ours: the account may be unable to enter it.
    directory: Path = Path("/")


def find_package(name: str, distribution: str) -> Path:
    """Where a wheel was unpacked. It is not imported: we use its programs only.

    Raises: SettingsError when it is not installed.
    """
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SettingsError(f"No {distribution} here: install stagebloom[embedded], or set DATABASE_URL and REDIS_URL")
    return Path(spec.submodule_search_locations[0])


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(remembered: int | None) -> int:
    """The remembered port if it is free, or else another."""
    if remembered is not None and is_free(remembered):
        return remembered
    # Random, so that two runs that start together do not race for the same one.
    for port in random.sample(PORTS, 200):
        if is_free(port):
            return port
    raise SettingsError(f"No free port between {PORTS.start} and {PORTS.stop} on 127.0.0.1")


def process_in(pid_file: Path, directory: Path) -> tuple[int, bool] | None:
    """The living process that a pid file names, and whether it is a server of `directory`.

    None when there is none. Linux only; elsewhere the servers' own checks have to do.
    """
    try:
        process_id = int(pid_file.read_text().split()[0])
        command = Path(f"/proc/{process_id}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return process_id, os.fsencode(directory) in command


def stop_leftover(pid_file: Path, directory: Path, stop_signal: signal.Signals) -> None:
    """End a server of `directory` that outlived its run. We hold the lock, so nobody uses it."""
    for number, timeout_seconds in ((stop_signal, 20.0), (signal.SIGKILL, 5.0)):
        found = process_in(pid_file, directory)
        if found is None or not found[1]:
            return
        os.kill(found[0], number)
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline and process_in(pid_file, directory) == found:
            time.sleep(0.02)
