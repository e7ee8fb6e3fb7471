"""The sequence of `stagebloom run`, and the way back.

    lock DATA_DIR → servers → tables and demonstration → programs → all answer → the address
    … until Ctrl-C …
    gateway and beat → workers, which finish what they hold → Redis → PostgreSQL

Servers are started only where no address is set, each for itself. Nothing is left behind: not after
Ctrl-C, not after a fault on the way, not when this process itself is killed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from shared import migrations
from shared.database import engine
from shared.embedded import EmbeddedServers, ServerProgram
from shared.errors import Unavailable
from shared.seed import seed_demo
from shared.settings import Settings
from shared.supervisor.guardian import Guardian
from shared.supervisor.loop import Loop, StopRequested
from shared.supervisor.output import Output
from shared.supervisor.procfile import read_procfile
from shared.supervisor.program import Program
from shared.supervisor.readiness import check_port, what_is_missing

PROCFILE = Path(__file__).parents[2] / "Procfile"
PROGRAMS_GRACE_SECONDS = 30.0
SERVERS_GRACE_SECONDS = 30.0
# A second Ctrl-C kills programs at once (the sweep finds what they held); servers write down first.
SERVERS_HURRIED_SECONDS = 5.0
ASK_EVERY_SECONDS = 0.2
STILL_WAITING_SECONDS = 15.0
NOTE_ON_ROOT = "running as root, but for the servers: fine in a container, elsewhere use an ordinary user"
# Stopped first: nothing new comes in while the workers finish.
SOURCES = ("web", "beat")


def run(
    settings: Settings,
    *,
    procfile: Path = PROCFILE,
    steps: Mapping[str, Callable[[], None]] | None = None,
    missing: Callable[[], list[str]] | None = None,
) -> None:
    """Start everything, print the address, keep it running until SIGINT or SIGTERM.

    `steps` are done before the programs start, each in a fork of this process that prints what it did
    (none given: migrate, and for a demonstration put in its company). `missing` names what does not answer yet (none
    given: the gateway's /readyz and a ping to each worker). To be called from the main thread.

    Raises: SettingsError when DATA_DIR or PORT is taken or the machine lacks something; Unavailable
    when a step failed.
    """
    commands = read_procfile(procfile)
    servers = EmbeddedServers(settings.data_dir, settings.embedded_database, settings.embedded_redis)
    servers.data.lock()
    try:
        check_port(settings)
        output = Output(sys.stdout, servers.data.path / "logs")
        guardian = Guardian()
        try:
            with Loop(output, guardian) as loop:
                _run(
                    loop,
                    output,
                    settings,
                    servers,
                    procfile.absolute().parent,
                    commands,
                    _default_steps(settings) if steps is None else steps,
                    missing or what_is_missing(settings, commands),
                )
        finally:
            guardian.dismiss()
            output.close()
    finally:
        servers.stop()


def _run(
    loop: Loop,
    output: Output,
    settings: Settings,
    servers: EmbeddedServers,
    directory: Path,
    commands: Mapping[str, str],
    steps: Mapping[str, Callable[[], None]],
    missing: Callable[[], list[str]],
) -> None:
    """Loop, servers and programs, from the first start to the last end."""
    environment = _environment(settings)
    kept: list[Program] = []
    programs = [
        # exec: the program itself is our child, not a shell that swallows signals.
        Program(name, ["sh", "-c", f"exec {command}"], environment, directory)
        for name, command in commands.items()
    ]
    step: Program | None = None
    if os.geteuid() == 0:
        output.say(NOTE_ON_ROOT)
    try:
        prepared = servers.prepare()
        servers.remember(public_address=settings.public_url or settings.local_address)
        for server in prepared:
            kept.append(_kept(server))
            loop.start(kept[-1])
            output.say(f"starting {server.name}")
            loop.wait_until(server.is_ready, every_seconds=0.02)
        for name, function in steps.items():
            step = Program(name, function, is_kept=False)
            if loop.run_step(step) != 0:
                raise Unavailable(f"{name} failed (see above, or {output.path(name)})")
        output.say(f"starting {', '.join(commands)}")
        for program in programs:
            loop.start(program)
        # In a fork: asking takes seconds, and libraries that we need only for it.
        step = Program("readiness", partial(_wait_for_answers, missing), is_kept=False)
        if loop.run_step(step) != 0:
            raise Unavailable(f"whether everything answers could not be asked (see {output.path(step.name)})")
        output.announce(f"StageBloom is running at {settings.local_address}/   (Ctrl-C stops it)")
        loop.run_until_stopped()
    except StopRequested:
        pass
    finally:
        output.say("stopping; once more Ctrl-C to hurry")
        if step is not None:
            loop.stop([step], PROGRAMS_GRACE_SECONDS)
        loop.stop([program for program in programs if program.name in SOURCES], PROGRAMS_GRACE_SECONDS)
        loop.stop([program for program in programs if program.name not in SOURCES], PROGRAMS_GRACE_SECONDS)
        for server_program in reversed(kept):
            loop.stop([server_program], SERVERS_GRACE_SECONDS, SERVERS_HURRIED_SECONDS)
        output.say("stopped")


def _default_steps(settings: Settings) -> dict[str, Callable[[], None]]:
    steps: dict[str, Callable[[], None]] = {"migrate": partial(_migrate, settings)}
    if settings.is_demo:
        steps["seed"] = partial(_seed, settings)
    return steps


def _migrate(settings: Settings) -> None:
    before = migrations.current(engine(settings))
    migrations.upgrade(engine(settings))
    after = migrations.current(engine(settings))
    print(f"the tables are at {after}" if before == after else f"{before or 'nothing'} → {after}")


def _seed(settings: Settings) -> None:
    if seed_demo(settings):
        print("the demonstration company is in")


def _environment(settings: Settings) -> dict[str, str]:
    """What programs are told: our own environment, and where they belong.

    They are found in the virtual environment that we run from, activated or not.
    """
    environment = os.environ | {
        "DATA_DIR": str(settings.data_dir),
        "PORT": str(settings.port),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
    }
    if os.geteuid() == 0:
        # Said once by us (NOTE_ON_ROOT), not in seven lines by every worker.
        quiet = ["ignore:You're running the worker with superuser privileges"]
        environment["PYTHONWARNINGS"] = ",".join([*filter(None, [os.environ.get("PYTHONWARNINGS")]), *quiet])
    return environment


def _kept(server: ServerProgram) -> Program:
    return Program(
        server.name, server.command, server.environment, server.directory, server.stop_signal, is_shown=False
    )


def _wait_for_answers(missing: Callable[[], list[str]]) -> None:
    said_at = time.monotonic()
    while names := missing():
        if time.monotonic() - said_at > STILL_WAITING_SECONDS:
            print(f"still waiting for {', '.join(names)}", flush=True)
            said_at = time.monotonic()
        time.sleep(ASK_EVERY_SECONDS)
