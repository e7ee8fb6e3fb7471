"""Child processes that never outlive their parent.

Every child leads a session of its own: a Ctrl-C at the terminal reaches the parent only, and the
whole group can be ended at once. When the parent dies without a word (SIGKILL), the kernel sends the
child its stop signal (Linux; elsewhere only the supervisor's guardian does).

Never: starts anything from a thread. The kernel's message comes when the starting *thread* ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from sqlalchemy.exc import OperationalError

from shared.errors import NotificationError

_PR_SET_PDEATHSIG = 1
# Looked up here, not between fork and exec, where importing could deadlock.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    directory: Path,
    output: int | IO[bytes],
    stop_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own; `stop_signal` is what it gets when we die."""
    return subprocess.Popen(
        command,
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent(stop_signal),  # noqa: PLW1509 (we start nothing from threads)
    )


class Child(Protocol):
    """What a `Popen` and a `ForkedChild` have in common."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def send_signal(self, sig: int, /) -> None: ...


class ForkedChild:
    """A child that runs a function of this process instead of a program: nothing is imported again."""

    def __init__(self, process_id: int) -> None:
        self.pid = process_id
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            process_id, status = os.waitpid(self.pid, os.WNOHANG)
            if process_id:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, sig: int, /) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)


def fork(function: Callable[[], None], output: int, stop_signal: signal.Signals = signal.SIGTERM) -> ForkedChild:
    """Run `function` in a child: in a session of its own, its words going to `output`.

    It exits with 1 when the function raises; a NotificationError is said in one line.
    """
    die_with_parent = _die_with_parent(stop_signal)
    process_id = os.fork()
    if process_id:
        return ForkedChild(process_id)
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        die_with_parent()
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        # The rest is our parent's: its locks and its pipes must not live as long as we do.
        os.closerange(3, 1024)
        function()
        status = 0
    except NotificationError as error:
        print(error.message, file=sys.stderr)  # noqa: T201
    except OperationalError as error:
        cause = str(error.orig).strip().splitlines()[0]
        print(f"the database can't be reached: {cause}", file=sys.stderr)  # noqa: T201
    except BaseException:  # noqa: BLE001 (a child has nobody to raise to)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _die_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    parent = os.getpid()

    def ask_the_kernel() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return ask_the_kernel


def signal_group(process_id: int, number: signal.Signals) -> bool:
    """Send a signal to a whole process group; False when nobody is left in it."""
    try:
        os.killpg(process_id, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS: only zombies are left
        return False
    return True


def describe_exit(returncode: int) -> str:
    """`exit 1`, `SIGKILL`."""
    if returncode < 0:
        try:
            return signal.Signals(-returncode).name
        except ValueError:
            return f"signal {-returncode}"
    return f"exit {returncode}"
