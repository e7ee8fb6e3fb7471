"""NOTIFICATION_SETTINGS and CHANNEL_LAYERS of Django's settings, as environment variables.

They are this process's; `python manage.py notification_environment` prints them for the workers and
gateways. What the environment says already stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from shared.errors import SettingsError
from shared.settings import Settings, environment_name

# As the specification writes them. Every other setting stands under its own name: "DATABASE_URL".
NAMES = {
    "QUEUE_SIZE": "NOTIFICATION_QUEUE_SIZE",
    "RETENTION_DAYS": "NOTIFICATION_RETENTION_DAYS",
    "BATCH_SIZE": "NOTIFICATION_BATCH_SIZE",
}
HOSTS_EXPECTED = 'Redis as {"default": {"CONFIG": {"hosts": [("127.0.0.1", 6379)]}}}'


def environment(django_settings: Any) -> dict[str, str]:
    """{name: value} of what is set there; None counts as unset. Raises: SettingsError for unknown names."""
    given = getattr(django_settings, "NOTIFICATION_SETTINGS", {})
    found = {NAMES.get(name, name): _text(value) for name, value in given.items() if value is not None}
    known = {environment_name(field) for field in Settings.model_fields}
    if unknown := sorted(found.keys() - known):
        raise SettingsError(
            f"NOTIFICATION_SETTINGS: expected {', '.join(sorted({*NAMES, *known}))}, got {', '.join(unknown)}"
        )
    layers = getattr(django_settings, "CHANNEL_LAYERS", None)
    if layers:
        found["CHANNEL_LAYERS"] = _redis_url(layers)
    return found


def _text(value: Any) -> str:
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def _redis_url(layers: Any) -> str:
    """The address of a layer's first host, in each of the forms that channels_redis takes."""
    try:
        host = layers["default"]["CONFIG"]["hosts"][0]
        return _address(host)
    except (KeyError, IndexError, TypeError, ValueError):
        raise SettingsError(f"CHANNEL_LAYERS: expected {HOSTS_EXPECTED}") from None


def _address(host: Any) -> str:
    if isinstance(host, str):
        return host
    if not isinstance(host, Mapping):
        name, port = host
        return f"redis://{name}:{port}/0"
    if "address" in host:
        return _address(host["address"])
    password = f":{quote(host['password'], safe='')}@" if host.get("password") else ""
    return f"redis://{password}{host['host']}:{host.get('port', 6379)}/{host.get('db', 0)}"
