"""EmbeddedServers: a real PostgreSQL and a real Valkey out of wheels, in DATA_DIR.

The same program runs on them and on servers of one's own; there is no second, easier path.

Guarantees: idempotent; `addresses` answers from the moment `start` returns; ports and passwords are
chosen once and remembered in DATA_DIR/servers.json (readable by its owner only); a port that was
taken meanwhile is chosen anew; neither a killed run nor a power cut keeps the next one from starting.

Never: runs beside another run on the same DATA_DIR, or outlives the process that started it.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from shared.data_directory import DataDirectory, write_private
from shared.embedded import postgres, valkey
from shared.embedded.account import Account, choose_account
from shared.embedded.server import ServerProgram, choose_port
from shared.errors import Unavailable
from shared.processes import describe_exit, spawn

SERVERS_FILE = "servers.json"
# Recovery after a crash reads at most max_wal_size, 2 GB, from a slow disk.
START_TIMEOUT_SECONDS = 300.0
STOP_TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Addresses:
    """Where the servers answer; None for one that was not wanted."""

    database_url: str | None
    redis_url: str | None


class EmbeddedServers:
    """The servers that were asked for. A context manager: started on entering, stopped on leaving.

    `durable=False` is for tests: a crash of the machine may lose what was stored. Not thread-safe,
    and to be started from the main thread: the servers end with the thread that started them.
    """

    def __init__(
        self, data_dir: Path, want_database: bool = True, want_redis: bool = True, durable: bool = True
    ) -> None:
        self.data = DataDirectory(Path(data_dir))
        self._want_database = want_database
        self._want_redis = want_redis
        self._durable = durable
        self._addresses = Addresses(None, None)
        self._running: list[tuple[ServerProgram, subprocess.Popen[bytes]]] = []

    @property
    def addresses(self) -> Addresses:
        return self._addresses

    def prepare(self) -> list[ServerProgram]:
        """Lock DATA_DIR, make what is missing, write servers.json; say how to run each server.

        Raises: SettingsError when DATA_DIR is in use, or the machine lacks something that is named.
        """
        self.data.lock()
        file = self.data.path / SERVERS_FILE
        known = _read_addresses(file)
        account = self._choose_account()
        prepared = []
        if self._want_database:
            postgres.forget_crash(self.data)
            port, password, is_new = _port_and_password(known.get("database_url"))
            known["database_url"] = (
                f"postgresql+psycopg2://{postgres.ROLE}:{password}@127.0.0.1:{port}/{postgres.DATABASE}"
            )
            prepared.append(
                postgres.prepare(self.data, account, port, password, new_password=is_new, durable=self._durable)
            )
        if self._want_redis:
            valkey.forget_crash(self.data)
            port, password, _ = _port_and_password(known.get("redis_url"))
            known["redis_url"] = f"redis://:{password}@127.0.0.1:{port}/0"
            prepared.append(valkey.prepare(self.data, account, port, password, durable=self._durable))
        if prepared:
            write_private(file, json.dumps(known, indent=2) + "\n")
        self._addresses = Addresses(
            known["database_url"] if self._want_database else None,
            known["redis_url"] if self._want_redis else None,
        )
        return prepared

    def remember(self, **known: str) -> None:
        """Write more to servers.json, for whoever asks from another shell; DATA_DIR is locked by `prepare`."""
        file = self.data.path / SERVERS_FILE
        write_private(file, json.dumps({**_read_addresses(file), **known}, indent=2) + "\n")

    def start(self) -> Self:
        """Start what is not running and wait until it answers.

        Raises: SettingsError as `prepare`; Unavailable with the last lines of a server that did not
        start.
        """
        if self._running and all(process.poll() is None for _, process in self._running):
            return self
        self.stop()
        try:
            for program in self.prepare():
                self._running.append((program, self._spawn(program)))
            for program, process in self._running:
                self._wait(program, process)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop what runs, in order; nothing that was acknowledged is lost. Idempotent."""
        for program, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(program.stop_signal)
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        self.data.unlock()

    def start_again(self, name: str) -> None:
        """Start `postgres` or `redis` where it was, after it was killed."""
        for place, (program, process) in enumerate(self._running):
            if program.name == name:
                process.wait()
                self._running[place] = (program, self._spawn(program))
                self._wait(*self._running[place])

    def process_id(self, name: str) -> int:
        """Of the running `postgres` or `redis`."""
        return next(process.pid for program, process in self._running if program.name == name)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _choose_account(self) -> Account:
        trials = []
        if self._want_database:
            trials.append(postgres.trial())
        if self._want_redis:
            trials.append(valkey.trial())
        return choose_account(self.data.path, trials) if trials else Account()

    def _spawn(self, program: ServerProgram) -> subprocess.Popen[bytes]:
        with self.data.log_path(program.name).open("ab") as log:
            return spawn(
                program.command,
                environment=program.environment,
                directory=program.directory,
                output=log,
                stop_signal=program.stop_signal,
            )

    def _wait(self, program: ServerProgram, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not program.is_ready():
            if process.poll() is not None:
                log = self.data.log_path(program.name)
                last = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
                ended = describe_exit(process.returncode)
                raise Unavailable(f"{program.name} did not start ({ended}):\n{last}")
            if time.monotonic() > deadline:
                process.send_signal(signal.SIGTERM)
                raise Unavailable(f"{program.name} did not answer within {START_TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.01)


def _read_addresses(file: Path) -> dict[str, str]:
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, str)}


def _port_and_password(address: str | None) -> tuple[int, str, bool]:
    """What was chosen before, the port anew if it is taken; whether the password is new."""
    known = urlsplit(address or "")
    password = known.password or secrets.token_hex(24)
    return choose_port(known.port), password, known.password is None
