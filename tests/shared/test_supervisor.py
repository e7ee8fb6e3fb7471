"""The supervisor: real processes that are killed, hang, fail and are stopped."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg2
import pytest
import redis

from shared.errors import SettingsError
from shared.settings import load_settings
from shared.supervisor import output as output_module
from shared.supervisor.output import Output
from shared.supervisor.procfile import read_procfile
from tests.system import wait_until

RUNNING = "StageBloom is running at"
ELSEWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}

# Tells that it runs, and how it ends.
POLITE = "sh -c 'trap \"echo {name} ends >> $DATA_DIR/order; exit 0\" TERM; echo {name} is $$; while :; do sleep 1 & wait; done'"
# Runs on when asked to end, and has a child that does.
STUBBORN = (
    'sh -c \'trap "" TERM; (trap "" TERM; while :; do sleep 1; done) & echo stubborn is $$; while :; do sleep 1; done\''
)

SCRIPT = """
import sys
from pathlib import Path
from shared.errors import NotificationError
from shared.settings import load_settings
from shared.supervisor import run

def fail():
    raise NotificationError("the tables are on strike")

steps = {"fail": fail} if "fail" in sys.argv else {}
missing = (lambda: ["web"]) if "never" in sys.argv else (lambda: [])
try:
    run(load_settings(), procfile=Path(sys.argv[1]), steps=steps, missing=missing)
except NotificationError as error:
    sys.exit(f"stagebloom: {error.message}")
"""


class Run:
    """A `stagebloom run` of its own, in a process that can be killed."""

    def __init__(self, directory: Path, command: list[str], environment: Mapping[str, str]) -> None:
        self.data_dir = directory / "data"
        self.port = environment["PORT"]
        self._said = directory / f"said-{os.urandom(4).hex()}"
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=Path(__file__).parents[2],
                env={**os.environ, "DATA_DIR": str(self.data_dir), **environment},
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        def is_there() -> bool:
            return self.said.count(text) >= times or self.process.poll() is not None

        wait_until(is_there, f"{times} times {text!r}", 60, lambda: self.said)
        assert self.said.count(text) >= times, self.said

    def process_ids(self, name: str) -> list[int]:
        """Of all that said `NAME is PID`, in order."""
        return [int(found) for found in re.findall(rf"\b{name} is (\d+)", self.said)]

    def end(self, *signals: signal.Signals) -> int:
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(60)

    def leftovers(self) -> list[str]:
        """Every process that was told of our DATA_DIR, but for ourselves."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                told = (path / "cmdline").read_bytes()
                told += (path / "environ").read_bytes()
            except OSError:
                pass
            if os.fsencode(self.data_dir) in told and int(path.name) != os.getpid():
                found.append(told.decode(errors="replace")[:200])
        return found


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Run these programs. Without further words on servers that are elsewhere, with no steps."""
    runs: list[Run] = []

    def start(programs: Mapping[str, str] | None, *words: str, **environment: str) -> Run:
        procfile = tmp_path / "Procfile"
        if programs is not None:
            procfile.write_text("".join(f"{name}: {command}\n" for name, command in programs.items()))
        command = [sys.executable, "-c", SCRIPT, str(procfile), *words]
        if programs is None:
            command = [str(Path(sys.executable).parent / "stagebloom"), "run"]
        runs.append(Run(tmp_path, command, {"PORT": str(free_port()), **environment}))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
    for run in runs:
        wait_until(lambda run=run: not run.leftovers(), "nothing is left", 30, lambda run=run: str(run.leftovers()))  # type: ignore[misc]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def polite(*names: str) -> dict[str, str]:
    return {name: POLITE.format(name=name) for name in names}


def test_what_dies_is_started_again_and_that_is_said(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("web", "worker"), **ELSEWHERE)
    run.wait_for(RUNNING)
    run.wait_for("worker is ")
    os.kill(run.process_ids("worker")[0], signal.SIGKILL)
    run.wait_for("worker is ", times=2)
    assert "worker ended (SIGKILL); starting it again in 0.5 s" in run.said
    assert len(run.process_ids("web")) == 1, "the others go on"


def test_the_children_of_what_died_are_ended_too(supervise: Callable[..., Run]) -> None:
    run = supervise({"web": "sh -c 'sleep 600 & echo child is $!; echo web is $$; wait'"}, **ELSEWHERE)
    run.wait_for("web is ")
    os.kill(run.process_ids("web")[0], signal.SIGKILL)
    run.wait_for("web is ", times=2)
    assert not is_running(run.process_ids("child")[0])


def test_programs_know_where_they_belong(supervise: Callable[..., Run]) -> None:
    run = supervise(
        {"web": "sh -c 'echo $PORT $DATA_DIR $(command -v stagebloom); sleep 600'"}, PATH=os.defpath, **ELSEWHERE
    )
    run.wait_for(RUNNING)
    run.wait_for(f"{run.port} {run.data_dir} {Path(sys.executable).parent}/stagebloom")


def test_where_the_gateway_is_can_be_found_from_another_shell(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("web"), **ELSEWHERE)
    run.wait_for(RUNNING)
    found = load_settings({"DATA_DIR": str(run.data_dir)})
    assert found.public_address == f"http://127.0.0.1:{run.port}"
    run.end(signal.SIGINT)
    run = supervise(polite("web"), PUBLIC_URL="https://stages.example", **ELSEWHERE)
    run.wait_for(RUNNING)
    assert found.public_address == "https://stages.example"


def test_ctrl_c_stops_the_sources_before_the_workers_and_leaves_nothing(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("worker", "beat", "web"), **ELSEWHERE)
    run.wait_for(" is ", times=4)
    assert run.end(signal.SIGINT) == 0
    order = (run.data_dir / "order").read_text().split()[::2]
    assert sorted(order[:2]) == ["beat", "web"]
    assert order[2:] == ["worker"]
    assert run.leftovers() == []


def test_a_second_ctrl_c_hurries(supervise: Callable[..., Run]) -> None:
    run = supervise({"worker": STUBBORN}, **ELSEWHERE)
    run.wait_for("stubborn is ")
    run.process.send_signal(signal.SIGINT)
    run.wait_for("once more Ctrl-C")
    assert run.end(signal.SIGINT) == 0
    assert "did not stop within" not in run.said, "it was not given its 30 s"
    assert run.leftovers() == []


def test_killing_the_supervisor_leaves_nothing_and_the_next_run_starts(supervise: Callable[..., Run]) -> None:
    run = supervise({**polite("web"), "worker": STUBBORN})
    run.wait_for(RUNNING)
    run.wait_for("stubborn is ")
    assert len(run.leftovers()) > 5
    run.end(signal.SIGKILL)
    after = supervise(polite("web"))
    after.wait_for(RUNNING)
    assert not is_running(run.process_ids("stubborn")[0]), "the lock is held until all has ended"
    assert after.end(signal.SIGTERM) == 0
    assert run.leftovers() == []


def test_a_killed_server_is_started_again_with_its_data(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("web"))
    run.wait_for(RUNNING)
    settings = load_settings({"DATA_DIR": str(run.data_dir)})

    def ask(statement: str) -> list[tuple[object, ...]]:
        connection = psycopg2.connect(settings.database.replace("+psycopg2", ""), connect_timeout=5)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            found = cursor.fetchall() if cursor.description else []
        connection.close()
        return found

    ask("CREATE TABLE kept AS SELECT 42 AS n")
    with redis.Redis.from_url(settings.redis) as client:
        client.set("kept", "42")
        assert client.waitaof(1, 0, 5000)[0] == 1  # type: ignore[index]
        redis_id = int(client.info("server")["process_id"])  # type: ignore[index]
    postgres_id = int((run.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    for process_id in (redis_id, postgres_id):
        os.kill(process_id, signal.SIGKILL)
    run.wait_for("redis ended (SIGKILL); starting it again")
    run.wait_for("postgres ended (SIGKILL); starting it again")

    def redis_has_it() -> bool:
        try:
            return bool(redis.Redis.from_url(settings.redis).get("kept") == b"42")
        except redis.RedisError:
            return False

    def postgres_has_it() -> bool:
        try:
            return ask("SELECT n FROM kept") == [(42,)]
        except psycopg2.OperationalError:
            return False

    wait_until(redis_has_it, "Redis has what it was told", 30)
    wait_until(postgres_has_it, "PostgreSQL has what it was told", 30)
    assert run.end(signal.SIGINT) == 0
    assert run.leftovers() == []


def test_a_second_run_on_the_same_directory_is_refused(supervise: Callable[..., Run]) -> None:
    first = supervise(polite("web"), **ELSEWHERE)
    first.wait_for(RUNNING)
    second = supervise(polite("web"), **ELSEWHERE)
    assert second.process.wait(60) == 1
    assert f"{first.data_dir} is in use by process {first.process.pid}" in second.said
    assert first.process.poll() is None


def test_a_taken_port_is_said_before_anything_starts(supervise: Callable[..., Run]) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        port = stranger.getsockname()[1]
        run = supervise(polite("web"), PORT=str(port))
        assert run.process.wait(60) == 1
        assert f"Can't listen on 127.0.0.1 port {port}" in run.said
        assert not (run.data_dir / "postgres").exists()


def test_a_program_that_keeps_failing_shows_why(supervise: Callable[..., Run]) -> None:
    run = supervise({"worker": "sh -c 'echo no such table >&2; exit 3'"}, **ELSEWHERE)
    run.wait_for("worker died 3 times in a row. Its last lines")
    assert "starting it again in 0.5 s" in run.said
    assert "worker ended (exit 3); starting it again in 2 s" in run.said
    assert "    no such table" in run.said


def test_a_failed_step_stops_everything_and_names_the_cause(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("web"), "fail", **ELSEWHERE)
    assert run.process.wait(60) == 1
    assert "the tables are on strike" in run.said
    assert "stagebloom: fail failed" in run.said
    assert "web is " not in run.said


def test_ctrl_c_while_starting_stops_what_is_there(supervise: Callable[..., Run]) -> None:
    run = supervise(polite("web"), "never", **ELSEWHERE)
    run.wait_for("web is ")
    assert run.end(signal.SIGTERM) == 0
    assert RUNNING not in run.said
    assert run.leftovers() == []


def test_what_programs_say_is_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "LOG_BYTES", 1000)
    with (tmp_path / "terminal").open("w") as terminal:
        output = Output(terminal, tmp_path)
        for number in range(1000):
            output.line("web", f"line {number}")
        output.line("web", "for the file only", is_shown=False)
        output.close()
    files = list(tmp_path.glob("web.log*"))
    assert len(files) == 2
    assert all(path.stat().st_size <= 1000 for path in files)
    assert (tmp_path / "web.log").read_text().endswith("for the file only\n")
    shown = (tmp_path / "terminal").read_text()
    assert "web        | line 999\n" in shown
    assert "for the file only" not in shown
    assert "\x1b" not in shown, "no colours into a file"


def test_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as terminal:
        output = Output(terminal, tmp_path)
        output.say("first")
        output.say("second")
        output.close()
    assert (tmp_path / "stagebloom.log").read_text() == "first\nsecond\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web gunicorn\n", ":1: expected `name: command`"),
        ("web: a\nweb: b\n", ":2: expected `name: command`, each name once"),
        ("# nothing\n\n", "expected at least one"),
    ],
)
def test_a_procfile_that_cannot_be_read_is_said_so(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "Procfile").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(expected)):
        read_procfile(tmp_path / "Procfile")


def test_stagebloom_run_is_the_whole_service(supervise: Callable[..., Run]) -> None:
    """The shipped Procfile, from an empty directory to the address, through a killed gateway, and back."""

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{run.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    run = supervise(None)
    run.wait_for(f"{RUNNING} http://127.0.0.1:{run.port}/")
    assert is_ready()
    gateway = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"gunicorn" in path.read_bytes() and str(run.data_dir).encode() in (path.parent / "environ").read_bytes()
    ]
    for process_id in gateway:
        os.kill(process_id, signal.SIGKILL)
    run.wait_for("web ended (SIGKILL)")
    wait_until(is_ready, "the gateway is back", 60, lambda: run.said)
    assert run.end(signal.SIGINT) == 0
    assert run.leftovers() == []
