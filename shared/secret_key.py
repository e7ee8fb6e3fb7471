"""SECRET_KEY where none is set: made once, and kept in DATA_DIR for this user only."""

from __future__ import annotations

import contextlib
import os
import secrets
from functools import lru_cache
from pathlib import Path

from shared.errors import SettingsError

SECRET_FILE = "secret_key"

FileState = tuple[int, int, int]


def kept_secret(directory: Path, min_length: int) -> str:
    """The key in this directory, made if there is none. Raises: SettingsError when it can't be used."""
    path = f"{directory}/{SECRET_FILE}"
    try:
        key = _read_secret(path, _state(path) or _make_secret(path))
    except (OSError, UnicodeDecodeError) as error:
        message = f"SECRET_KEY: it is not set, and {path} can't be used: {error}"
        raise SettingsError(message, key="SECRET_KEY") from None
    if len(key) < min_length:
        message = f"SECRET_KEY: it is not set, and {path} is cut short: remove it, or set SECRET_KEY"
        raise SettingsError(message, key="SECRET_KEY")
    return key


def _state(path: str) -> FileState | None:
    """What is another when the file is another; None when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=8)
def _read_secret(path: str, state: FileState) -> str:
    """The file, read once: reading it at every request was 5 % of a connect."""
    return Path(path).read_text()


def _make_secret(name: str) -> FileState:
    """Two processes at once end with the same key: the file appears whole, or was there already."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(descriptor)  # or a power cut leaves an empty key, with which anyone could sign
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    found = os.stat(path)
    return found.st_ino, found.st_mtime_ns, found.st_size
