"""Whether everything that was started answers: the gateway over HTTP, the workers over the broker."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable, Mapping

from shared.errors import SettingsError
from shared.settings import Settings

# Asked again and again while starting, so each question is short.
ANSWER_SECONDS = 2.0
PONG_SECONDS = 0.5

_NODE = re.compile(r"\bcelery\b.*\bworker\b.*--hostname[ =](?P<name>[\w.-]+)@")


def check_port(settings: Settings) -> None:
    """Raises: SettingsError when something else listens where the gateway shall."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"Can't listen on {settings.host} port {settings.port} ({error.strerror}): stop what does,"
            f" or choose another, for example PORT={settings.port + 1}",
            key="PORT",
        ) from None


def what_is_missing(settings: Settings, commands: Mapping[str, str]) -> Callable[[], list[str]]:
    """A question: which of these programs don't answer yet?

    Workers are asked by the name that `--hostname NAME@` gives them. Beat answers to nobody; it counts
    as there when it runs.
    """
    workers = {found["name"] for command in commands.values() if (found := _NODE.search(command))}

    def missing() -> list[str]:
        if "web" in commands and not _gateway_is_ready(settings):
            return ["web", *sorted(workers)]
        return sorted(workers - _answering_workers(settings, len(workers))) if workers else []

    return missing


def _gateway_is_ready(settings: Settings) -> bool:
    connection = http.client.HTTPConnection(settings.local_address.removeprefix("http://"), timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _answering_workers(settings: Settings, expected: int) -> set[str]:
    from shared.celery_app import make_celery  # 35 MB that only this question needs

    try:
        pongs = make_celery(settings).control.ping(timeout=PONG_SECONDS, limit=expected)
    except Exception:  # noqa: BLE001 (whatever a broker that starts may say: not there yet)
        return set()
    return {name.partition("@")[0] for pong in pongs for name in pong}
