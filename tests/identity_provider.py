"""An identity provider for tests: a real HTTP server with a JWKS, which rotates, fails, lies and dawdles."""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm


@cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """A key of that name (`short` has 1,024 bits); making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name == "short" else 2048)


def public_jwk(name: str, **changed: Any) -> dict[str, Any]:
    """Its public half as a JWKS lists it; what is None is left out."""
    entry = {
        **RSAAlgorithm.to_jwk(private_key(name).public_key(), as_dict=True),
        "key_ops": None,
        "kid": name,
        "use": "sig",
        "alg": "RS256",
        **changed,
    }
    return {key: value for key, value in entry.items() if value is not None}


def claims_of(person: Any = "42", **changed: Any) -> dict[str, Any]:
    claims = {
        "sub": person,
        "iss": "stagebloom",
        "aud": "notifications",
        "exp": datetime.now(UTC) + timedelta(hours=1),
        **changed,
    }
    return {name: value for name, value in claims.items() if value is not None}


def token(key_name: str = "first", kid: str | None = "", person: str = "42", **changed: Any) -> str:
    """A token of this person, signed with that key; `kid` is the key's name unless said, None for none."""
    headers = {} if kid is None else {"kid": kid or key_name}
    return jwt.encode(claims_of(person, **changed), private_key(key_name), algorithm="RS256", headers=headers)


class IdentityProvider:
    """Answers `/keys` with `published`. `mood` is one of ok, error, rubbish, empty, huge, redirect, silent, drip."""

    def __init__(self, *names: str) -> None:
        self.published = [public_jwk(name) for name in names]
        self.mood = "ok"
        self.asked = 0
        self._calm = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys"

    def publish(self, *names: str) -> None:
        self.published = [public_jwk(name) for name in names]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._calm.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        body = json.dumps({"keys": self.published}).encode()
        if self.mood == "silent":
            self._calm.wait(60)
            return
        if self.mood == "rubbish":
            body = b"<html>under maintenance</html>"
        if self.mood == "empty":
            body = b'{"keys": []}'
        if self.mood == "huge":
            body = b'{"keys": [], "x": "' + b"x" * 600_000 + b'"}'
        request.send_response({"error": 500, "redirect": 302}.get(self.mood, 200))
        if self.mood == "redirect":
            request.send_header("Location", self.url)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if self.mood == "drip":
            for byte in body:
                request.wfile.write(bytes([byte]))
                request.wfile.flush()
                if self._calm.wait(0.1):
                    return
        request.wfile.write(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # cut off, as it should be
                    provider._answer(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler
