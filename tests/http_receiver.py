"""A real HTTP server on loopback that keeps what it is sent and answers as it is told."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Receiver:
    """`answers` are statuses, given one after another, then 204; `pause_seconds` before each; "drip" never ends."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        self.answers: list[int | str] = []
        self.pause_seconds = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.paths.append(self.path)
                time.sleep(receiver.pause_seconds)
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if answer == "drip":
                    self._drip()
                    return
                self.send_response(int(answer))
                if 300 <= int(answer) < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                if answer != 204:
                    self.send_header("Content-Length", "7")
                self.end_headers()
                if answer != 204:
                    self.wfile.write(b"because")

            def _drip(self) -> None:
                for _ in range(100):
                    try:
                        self.connection.send(b"H")
                    except OSError:
                        return
                    time.sleep(0.1)

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
