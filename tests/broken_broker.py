"""A door in front of the real Valkey that a test can close, or leave open and say nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

from shared.settings import Settings

CHUNK_BYTES = 65_536


def quiet_broker(settings: Settings) -> Settings:
    """The same with a broker to which no worker listens: what is rung stays in the queue and can be counted."""
    address = urlunsplit(urlsplit(settings.redis)._replace(path="/1"))
    return settings.model_copy(update={"broker_url": address})


class BrokerDoor:
    """Forwards bytes between its own port and a broker to which no worker listens.

    `refuse()`: connections are refused, and those there are broken. `fall_silent()`: bytes are taken
    and kept, and nothing is answered. `answer()`: all is well again, and what was kept goes on.
    """

    def __init__(self, settings: Settings) -> None:
        self._behind = urlsplit(quiet_broker(settings).broker)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._speaks = threading.Event()
        self._speaks.set()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        netloc = f"{self._behind.netloc.rpartition('@')[0]}@127.0.0.1:{self._port}"
        self.settings = settings.model_copy(update={"broker_url": urlunsplit(self._behind._replace(netloc=netloc))})

    def answer(self) -> None:
        self._speaks.set()
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def fall_silent(self) -> None:
        self.answer()
        self._speaks.clear()

    def refuse(self) -> None:
        if self._listener is not None:
            # Closing alone would leave the thread in accept(), which still takes one connection.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._speaks.set()

    def __enter__(self) -> Self:
        self.answer()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((str(self._behind.hostname), self._behind.port or 0))
                self._open |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                self._speaks.wait()
                target.sendall(chunk)
        self._open.discard(source)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
