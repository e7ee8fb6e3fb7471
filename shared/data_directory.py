"""DATA_DIR: what the embedded servers, the logs and the secrets are kept in. One user at a time.

Guarantees: what is written here with `write_private` appears whole or not at all and is readable by
its owner only; two runs never share the directory, while files left by a killed run, or by a power
cut, never keep the next one from starting (the lock is the kernel's, not a file's existence).

Never: changes the permissions of a directory that was there before.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from pathlib import Path

from shared.errors import SettingsError

# The guardian of a run that was killed needs at most this long to end what the run left behind.
LEFTOVERS_TIMEOUT_SECONDS = 20.0
IN_USE = "{path} is in use by process {owner}: stop that run, or choose another DATA_DIR"


class DataDirectory:
    """DATA_DIR, made on first use. Not thread-safe: one per process."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    def make(self) -> None:
        """Make the directory and `logs` in it.

        Root lets others pass through (0711), so that the servers' account reaches its own directory;
        nothing in it can be listed or read by them.

        Raises: SettingsError when it can't be made or written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"DATA_DIR={self.path}: expected a directory we can write ({error.strerror})",
                key="DATA_DIR",
            ) from None

    def log_path(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def lock(self) -> None:
        """Make this process the only one that uses the directory, until `unlock` or its end.

        A run that is being ended after its death is waited for; one that lives is not.

        Raises: SettingsError naming the process that has it.
        """
        if self._lock is not None:
            return
        self.make()
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + LEFTOVERS_TIMEOUT_SECONDS
        while not _try_lock(descriptor):
            owner = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "?"
            if _is_alive(owner) or time.monotonic() > deadline:
                os.close(descriptor)
                raise SettingsError(IN_USE.format(path=self.path, owner=owner), key="DATA_DIR")
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def write_private(path: Path, text: str, owner: tuple[int, int] | None = None) -> None:
    """Replace `path` by `text` in one step; readable by its owner only, another user if one is given."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            if owner is not None:
                os.fchown(descriptor, *owner)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process_id: str) -> bool:
    try:
        os.kill(int(process_id), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        pass
    return True
