"""A real HTTP server on loopback that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

ENDLESS_BYTES = 10_000_000_000  # announced
PIECE = b"x" * 65_536
MOST_BYTES = 100_000_000  # really sent, if somebody takes that much


class Receiver:
    """`answers` are given one after another, then 204; `pause_seconds` before each; `headers` go with all but 204.
    `before_answer` is called when a request has been taken.

    An answer is a status, or one that never ends: "drip", a status line byte by byte; "flood 200", a body as
    fast as it is taken (`flooded_bytes`); "stall 200", a body that never comes.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answers: list[int | str] = []
        self.headers: dict[str, str] = {}
        self.pause_seconds = 0.0
        self.before_answer: Callable[[], object] = int
        self.flooded_bytes = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.paths.append(self.path)
                time.sleep(receiver.pause_seconds)
                receiver.before_answer()
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if answer == "drip":
                    self._drip()
                elif isinstance(answer, str):
                    how, status = answer.split()
                    self._begin(int(status), ENDLESS_BYTES)
                    self._flood() if how == "flood" else self.rfile.read(1)  # until the other side hangs up
                elif answer == 204:
                    self.send_response(answer)
                    self.end_headers()
                else:
                    self._begin(answer, 7)
                    self.wfile.write(b"because")

            def _begin(self, status: int, length: int) -> None:
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                for name, value in {"Content-Length": str(length), **receiver.headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def _drip(self) -> None:
                for _ in range(100):
                    try:
                        self.connection.send(b"H")
                    except OSError:
                        return
                    time.sleep(0.1)

            def _flood(self) -> None:
                while receiver.flooded_bytes < MOST_BYTES:
                    try:
                        self.wfile.write(PIECE)
                    except OSError:
                        return
                    receiver.flooded_bytes += len(PIECE)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])

    @property
    def event_ids(self) -> list[int]:
        """Of the events that came, in order; also of those that were answered with a failure."""
        return [json.loads(body)["data"]["id"] for _, body in self.requests]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
