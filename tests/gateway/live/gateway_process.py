"""A real gateway process under gunicorn, alone: no workers, so that a test decides what is published."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

from shared.processes import signal_group, spawn
from shared.settings import Settings
from tests.live_client import LiveClient, connect
from tests.system import ROOT, wait_until

START_SECONDS = 30.0


class GatewayProcess:
    """One gateway. `limits` are fields of `gateway.live.limits.Limits`, `environment` are settings."""

    def __init__(self, settings: Settings, limits: dict[str, float] | None = None, **environment: str) -> None:
        self.settings = settings
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._limits = limits or {}
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.settings.data_dir / "logs" / f"gateway-{self.port}.log"

    def __enter__(self) -> Self:
        self.log_path.parent.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "PORT": str(self.port),
            "LIVE_LIMITS": json.dumps(self._limits),
            **self._environment,
        }
        command = [
            str(Path(sys.executable).parent / "gunicorn"),
            "--config",
            "python:gateway.gunicorn_config",
            "tests.gateway.live.hurried:create_app()",
        ]
        with self.log_path.open("ab") as log:
            self._process = spawn(command, environment=environment, directory=ROOT, output=log)
        wait_until(self._answers, "the gateway answers", START_SECONDS, self.log)
        wait_until(lambda: self.counts()["redis"], "the gateway has subscribed", START_SECONDS, self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self.terminate()
        signal_group(self._process.pid, signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(20)

    def kill(self) -> None:
        """SIGKILL to all of it."""
        assert self._process is not None
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-6000:]

    def connect(self, token: str | None = None, **options: Any) -> LiveClient:
        return connect(self.base_url, token, **options)

    def counts(self) -> dict[str, Any]:
        with urlopen(f"{self.base_url}/counts", timeout=10) as answer:  # quieter than httpx, asked often
            found: dict[str, Any] = json.load(answer)
        return found

    def resident_bytes(self) -> int:
        """Memory of the process that holds the sockets."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        resident_pages = Path(f"/proc/{children.split()[0]}/statm").read_text().split()[1]
        return int(resident_pages) * resource.getpagesize()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        try:
            return "connections" in self.counts()
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
