"""An identity provider's public keys (JWKS, RFC 7517): fetched, kept, and fetched again when they rotate.

PyJWT's own client holds a lock while it fetches, has no bound on the whole fetch, forgets its keys when
they expire while the provider is away, and asks again at once after a failure. Here:

- keys are kept as long as nothing newer is read: a provider that is away changes nothing;
- after JWT_JWKS_REFRESH_SECONDS they are read again beside the requests, which go on with those kept;
- a key id that is not among them is looked for at once, but at most every JWT_JWKS_RETRY_SECONDS: whoever makes
  up key ids can't make this process ask more often;
- one fetch at a time, in a thread of its own (a greenlet in the gateway), cut off after FETCH_SECONDS;
  nobody waits for it longer than that. Redirects are not followed.

Only RSA keys for signatures, of 2,048 bits or more, are taken.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt

from shared.errors import Unavailable
from shared.logs import get_logger

ALGORITHM = "RS256"
FETCH_SECONDS = 3.0
MAX_BYTES = 512 * 1024
MAX_KEYS = 100
MIN_KEY_BITS = 2048  # RFC 7518, 3.3

log = get_logger("tokens")


class Rejected(Exception):
    """What the address gave is no set of keys that can be used."""


@dataclass(slots=True)
class _Fetch:
    """One fetch under way; `done` is set at its end, whatever became of it."""

    done: threading.Event = field(default_factory=threading.Event)


class KeySet:
    """The keys of one address. Reads nothing before it is asked; thread-safe."""

    def __init__(
        self, address: str, refresh_seconds: float, retry_seconds: float = 10, fetch_seconds: float = FETCH_SECONDS
    ) -> None:
        self._address = address
        self._refresh_seconds = refresh_seconds
        self._retry_seconds = retry_seconds
        self._fetch_seconds = fetch_seconds
        self._lock = threading.Lock()
        self._keys: dict[str, Any] = {}
        self._has_failed = False
        self._read_at = self._asked_at = -float("inf")
        self._fetch: _Fetch | None = None

    def holds(self, key_id: str | None) -> bool:
        """Whether `find` would answer at once."""
        return self._kept(key_id) is not None

    def find(self, key_id: str | None) -> Any:
        """The key of that id (without an id: the only key there is); None when the provider has none such.

        Raises: Unavailable while it can't be known: the address gives no keys, or not those of now.
        """
        kept = self._kept(key_id)
        if kept is not None:
            if time.monotonic() - self._read_at >= self._refresh_seconds:
                self._begin_fetch()
            return kept
        fetch = self._begin_fetch()
        is_over = fetch is None or fetch.done.wait(self._fetch_seconds)
        kept = self._kept(key_id)
        if kept is None and (self._has_failed or not is_over or not self._keys):
            raise Unavailable("the identity provider's keys can't be read now; try again", reason="jwks")
        return kept

    def _kept(self, key_id: str | None) -> Any:
        keys = self._keys
        if key_id is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(key_id)

    def _begin_fetch(self) -> _Fetch | None:
        """The fetch that is under way, or a new one; None when the last one began only just."""
        with self._lock:
            if self._fetch is not None:
                return self._fetch
            now = time.monotonic()
            if now - self._asked_at < self._retry_seconds:
                return None
            self._asked_at, self._fetch = now, _Fetch()
            fetch = self._fetch
        threading.Thread(target=self._run, args=(fetch,), name="jwks", daemon=True).start()
        return fetch

    def _run(self, fetch: _Fetch) -> None:
        try:
            keys = usable_keys(read(self._address, self._fetch_seconds))
        except (Rejected, OSError, http.client.HTTPException, ValueError) as error:
            log.warning("jwks_failed", error=type(error).__name__, reason=str(error)[:200], keys_kept=len(self._keys))
            self._has_failed = True
        else:
            if keys.keys() != self._keys.keys():
                log.info("jwks_read", keys=len(keys))
            self._keys, self._read_at, self._has_failed = keys, time.monotonic(), False
        finally:
            with self._lock:
                self._fetch = None
            fetch.done.set()


def usable_keys(content: bytes) -> dict[str, Any]:
    """The public keys by their ids (`""` for the one without). Raises: Rejected when none can be used."""
    try:
        listed = json.loads(content)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Rejected("it is no JSON object with `keys`") from None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise Rejected(f"`keys` is no list of at most {MAX_KEYS}")
    keys = {}
    for entry in listed:
        key = _public_key(entry)
        if key is not None:
            key_id = entry.get("kid", "")
            keys[key_id if isinstance(key_id, str) else ""] = key
    if not keys:
        raise Rejected(f"no RSA key of {MIN_KEY_BITS} bits or more for signatures is among {len(listed)} keys")
    return keys


def _public_key(entry: Any) -> Any:
    """What verifies with this key; None for one that is for something else, or can't be read."""
    if (
        not isinstance(entry, dict)
        or entry.get("kty") != "RSA"
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", ALGORITHM) != ALGORITHM
    ):
        return None
    operations = entry.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        # Of the public parts only: whoever publishes the private ones by mistake gives us none of them.
        key = jwt.PyJWK({name: entry[name] for name in ("kty", "n", "e")}, ALGORITHM).key
    except (jwt.PyJWTError, KeyError, ValueError, TypeError):
        return None
    return key if key.key_size >= MIN_KEY_BITS else None


def read(address: str, seconds: float) -> bytes:
    """What stands at an http(s) or file address, within so many seconds. Raises: OSError, HTTPException, Rejected."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        with Path(unquote(parts.path)).open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1))
    return _bounded(_get(address, seconds))


def _get(address: str, seconds: float) -> bytes:
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=seconds, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=seconds)
    )
    # The timeout is one of each step; a server that sends a byte a second passes it for ever.
    cut: threading.Timer | None = None
    try:
        connection.connect()
        cut = threading.Timer(seconds, _shut, [connection.sock])
        cut.daemon = True
        cut.start()
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request("GET", path, headers={"Accept": "application/json", "User-Agent": "stagebloom"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise Rejected(f"it answers {answer.status}")
        return answer.read(MAX_BYTES + 1)
    finally:
        if cut is not None:
            cut.cancel()
        connection.close()


def _shut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended already
        connected.shutdown(socket.SHUT_RDWR)


def _bounded(content: bytes) -> bytes:
    if len(content) > MAX_BYTES:
        raise Rejected(f"it is longer than {MAX_BYTES} bytes")
    return content
