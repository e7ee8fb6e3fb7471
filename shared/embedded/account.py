"""Who the embedded servers run as when we are root: nobody in particular.

PostgreSQL refuses to run as root, and no server needs to. They run as the system user `stagebloom`,
or as whoever owns the data already. That account may be unable to enter the directories above the
data or above the wheel's programs (`/root` is 0700): then the servers, and nothing else, get the one
capability that lets them read past it, instead of anyone's directory being opened to everyone.

Never: changes permissions, or gives a server more than it was shown to need.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SettingsError

NAME = "stagebloom"
OTHERWISE = "run as an ordinary user, or set DATABASE_URL and REDIS_URL"
# dac_read_search passes directories and reads files. dac_override also runs programs that only root
# may (wheels unpacked under umask 077), and is what containers leave root by default.
CAPABILITIES = (None, "dac_read_search", "dac_override")


@dataclass(frozen=True)
class Account:
    """The user that servers run as. `None` fields: ourselves."""

    user_id: int | None = None
    group_id: int | None = None
    capability: str | None = None

    @property
    def owner(self) -> tuple[int, int] | None:
        if self.user_id is None or self.group_id is None:
            return None
        return self.user_id, self.group_id

    def command(self, command: Sequence[str], stop_signal: signal.Signals | None = None) -> list[str]:
        """The command line that runs `command` as this account.

        `stop_signal` is what it gets when its parent dies: changing user clears what was asked of
        the kernel before, so it is asked again behind it.
        """
        if self.owner is None:
            return list(command)
        prefix = ["setpriv", f"--reuid={self.user_id}", f"--regid={self.group_id}", "--clear-groups"]
        if self.capability is not None:
            prefix += [f"--inh-caps=+{self.capability}", f"--ambient-caps=+{self.capability}"]
            # PostgreSQL looks for itself with access(2), which ignores the capabilities of those who
            # are not root unless this is set.
            prefix += ["--securebits=+no_setuid_fixup"]
        if stop_signal is not None:
            prefix += ["--pdeathsig", stop_signal.name.removeprefix("SIG")]
        return [*prefix, *command]

    def make_directory(self, path: Path) -> None:
        """Make a directory that only this account enters (0700)."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.owner is not None and path.stat().st_uid != self.user_id:
            os.chown(path, *self.owner)


def choose_account(data_dir: Path, trials: Sequence[list[str]]) -> Account:
    """Ourselves; as root the least privileged account for which every one of `trials` succeeds.

    Raises: SettingsError when we are root and there is no such account.
    """
    if os.geteuid() != 0:
        return Account()
    if shutil.which("setpriv") is None:
        raise SettingsError(f"As root this needs `setpriv` (util-linux): install it, {OTHERWISE}")
    user_id, group_id = _owner(data_dir) or _system_user()
    for capability in CAPABILITIES:
        account = Account(user_id, group_id, capability)
        # Tried, not computed: access lists, mounts and bounding sets are all in the answer.
        if all(_succeeds(account.command(trial)) for trial in [["test", "-x", str(data_dir)], *trials]):
            return account
    raise SettingsError(
        f"As root the servers run as user {user_id}, who can't reach {data_dir} or {sys.prefix}: {OTHERWISE}"
    )


def _succeeds(command: Sequence[str]) -> bool:
    done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0


def _owner(data_dir: Path) -> tuple[int, int] | None:
    """Whose data lies here already, so that `sudo make run` after `make run` finds it."""
    for name in ("postgres", "redis"):
        try:
            status = (data_dir / name).stat()
        except OSError:
            continue
        if status.st_uid != 0:
            return status.st_uid, status.st_gid
    return None


def _system_user() -> tuple[int, int]:
    """The system user, made if absent. Two runs may make it at once: the loser finds it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            found = pwd.getpwnam(NAME)
            return found.pw_uid, found.pw_gid
        except KeyError:
            failure = _add_user()
        if failure and time.monotonic() > deadline:
            raise SettingsError(f"Can't make the system user {NAME} ({failure}): {OTHERWISE}")
        time.sleep(0.1 if failure else 0)


def _add_user() -> str:
    """The reason it could not be made; empty when it was."""
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise SettingsError(f"Can't make the system user {NAME} (no useradd): {OTHERWISE}")
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    done = subprocess.run(
        [program, *options, "--shell", "/usr/sbin/nologin", NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr.strip() or f"exit {done.returncode}"
