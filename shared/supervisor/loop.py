"""The supervisor's loop: what runs, what it says, what died.

One thread. It sleeps in `select` until a program speaks, a program dies, a signal comes or a start is
due; nothing is polled while all is well.

Guarantees: what dies is started again, and that is said; the children of what died are ended first;
`stop` returns when nothing is left.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Self

from shared.processes import describe_exit, signal_group
from shared.supervisor.guardian import Guardian
from shared.supervisor.output import Output
from shared.supervisor.program import Program

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# From the third death in a row on, what it said last is shown: the reason is in there.
DEATHS_UNTIL_EXPLAINED = 3


class StopRequested(Exception):
    """Someone wants everything to stop, before it was all there."""


class Loop:
    """Runs programs. A context manager: signals are ours inside."""

    def __init__(self, output: Output, guardian: Guardian) -> None:
        self._output = output
        self._guardian = guardian
        self._programs: list[Program] = []
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_write = socket.socketpair()
        self._former: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
        self._is_stopping = False
        self.stop_requests = 0

    def __enter__(self) -> Self:
        for end in (self._wakeup, self._wakeup_write):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, self._note_stop) for number in STOP_SIGNALS}
        # Does nothing, but must be handled for the wake-up to come.
        self._former[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._selector.close()
        self._wakeup.close()
        self._wakeup_write.close()

    def start(self, program: Program) -> None:
        """Start a program and keep it running (a step: once)."""
        if program not in self._programs:
            self._programs.append(program)
        try:
            program.start()
        except OSError as error:
            program.close_output()
            self._say_death(program, f"can't be started: {error}")
            return
        assert program.process is not None
        assert program.output is not None
        self._guardian.watch(program.process.pid, program.stop_signal)
        self._selector.register(program.output, selectors.EVENT_READ, program)

    def run_step(self, program: Program) -> int:
        """Run a program to its end; its exit code.

        Raises: StopRequested.
        """
        self.start(program)
        self.wait_until(lambda: program.process is None, every_seconds=None)
        self._programs.remove(program)
        return 1 if program.returncode is None else program.returncode

    def wait_until(self, condition: Callable[[], bool], every_seconds: float | None) -> None:
        """Keep everything running until the condition holds, asking so often, or after every change.

        Raises: StopRequested.
        """
        while not condition():
            self._turn(every_seconds)
            if self.stop_requests:
                raise StopRequested

    def run_until_stopped(self) -> None:
        """Keep everything running until a signal asks to stop."""
        while not self.stop_requests:
            self._turn(None)

    def stop(self, programs: Sequence[Program], grace_seconds: float, hurried_seconds: float = 0) -> None:
        """End these programs: ask, wait, then SIGKILL. A second request to stop shortens the wait."""
        self._is_stopping = True
        for program in programs:
            program.start_at = None
            if program.process is not None:
                program.process.send_signal(program.stop_signal)
        asked_at = time.monotonic()
        while running := [program for program in programs if program.process is not None]:
            grace = hurried_seconds if self.stop_requests > 1 else grace_seconds
            remaining = asked_at + grace - time.monotonic()
            if remaining <= 0:
                for program in running:
                    if grace > hurried_seconds:
                        self._output.say(f"{program.name} did not stop within {grace:.0f} s: killing it")
                    assert program.process is not None
                    signal_group(program.process.pid, signal.SIGKILL)
            self._turn(max(remaining, 0.05))

    def _turn(self, timeout_seconds: float | None) -> None:
        now = time.monotonic()
        due = [program.start_at for program in self._programs if program.start_at is not None]
        limits = [max(0.0, moment - now) for moment in due]
        if timeout_seconds is not None:
            limits.append(timeout_seconds)
        for key, _ in self._selector.select(min(limits, default=None)):
            if key.data is None:
                self._drain_wakeup()
            else:
                self._read(key.data)
        for program in list(self._programs):
            if program.process is not None and program.process.poll() is not None:
                self._bury(program)
            elif program.start_at is not None and program.start_at <= time.monotonic():
                self.start(program)

    def _read(self, program: Program) -> bool:
        """Pass on what a program says; whether more may come at once."""
        lines, may_continue = program.read()
        for line in lines:
            self._output.line(program.name, line, is_shown=program.is_shown)
        if not may_continue and program.output is not None:
            self._selector.unregister(program.output)
            program.close_output()
        return bool(lines)

    def _bury(self, program: Program) -> None:
        """A program ended: end its children, pass on its last words, plan its next start."""
        process = program.process
        assert process is not None
        signal_group(process.pid, signal.SIGKILL)
        self._guardian.forget(process.pid)
        while self._read(program):
            pass
        if program.output is not None:  # a grandchild in a session of its own still has the other end
            self._selector.unregister(program.output)
            program.close_output()
        program.process, program.returncode = None, process.returncode
        if program.is_kept and not self._is_stopping:
            self._say_death(program, f"ended ({describe_exit(process.returncode or 0)})")

    def _say_death(self, program: Program, what: str) -> None:
        delay = program.rest()
        self._output.say(f"{program.name} {what}; starting it again in {delay:g} s")
        if program.deaths >= DEATHS_UNTIL_EXPLAINED and program.last_lines:
            path = self._output.path(program.name)
            self._output.say(f"{program.name} died {program.deaths} times in a row. Its last lines ({path}):")
            for line in program.last_lines:
                self._output.say(f"    {line}")

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop_requests += 1

    def _drain_wakeup(self) -> None:
        try:
            while self._wakeup.recv(4096):
                pass
        except BlockingIOError:
            pass
