"""The guardian: ends what is left when the supervisor is killed without a chance to stop anything.

The kernel tells each program that its parent died (shared/processes.py), and that is nearly always
enough. It is not for a program that hangs, for the children of one that was killed, or on macOS. So a
second process, forked at the start, waits at the end of a pipe: when the supervisor is gone it ends
every process group that was still running, first gently. It holds the lock of DATA_DIR until then,
so that the next run does not meet the leftovers of this one.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from shared.processes import signal_group

GRACE_SECONDS = 5.0


class Guardian:
    """Forked when made: before there are threads, after the lock is held."""

    def __init__(self) -> None:
        read_end, self._pipe = os.pipe()
        self._process_id = os.fork()
        if self._process_id == 0:
            try:
                os.close(self._pipe)
                _guard(read_end)
            finally:
                os._exit(0)
        os.close(read_end)

    def watch(self, process_id: int, stop_signal: signal.Signals) -> None:
        """This group is to be ended by `stop_signal` if we are killed."""
        self._tell(f"{process_id} {int(stop_signal)}\n")

    def forget(self, process_id: int) -> None:
        """This group has ended."""
        self._tell(f"{process_id} 0\n")

    def dismiss(self) -> None:
        """Everything has ended."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._process_id, 0)

    def _tell(self, text: str) -> None:
        with suppress(BrokenPipeError):  # someone killed it; the kernel's word remains
            os.write(self._pipe, text.encode())


def _guard(pipe: int) -> None:
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    # Whoever reads our output waits for its end, not for ours.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)

    groups: dict[int, int] = {}
    with os.fdopen(pipe) as words:
        for line in words:
            process_id, wanted = map(int, line.split())
            groups[process_id] = wanted
    running = {process_id for process_id, number in groups.items() if number and _end(process_id, number)}
    deadline = time.monotonic() + GRACE_SECONDS
    while running and time.monotonic() < deadline:
        time.sleep(0.05)
        running = {process_id for process_id in running if _end(process_id, 0)}
    for process_id in running:
        _end(process_id, signal.SIGKILL)


def _end(process_id: int, number: int) -> bool:
    """Signal a group (0: only ask); whether anyone is left in it."""
    if number:
        return signal_group(process_id, signal.Signals(number))
    try:
        os.killpg(process_id, 0)
    except OSError:
        return False
    return True
