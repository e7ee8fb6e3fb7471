"""What a setting's value must look like: the types of the fields in `shared.settings`.

Each check says what was expected; a value of None is one that is not set. Nothing here reads the environment.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from email.utils import parseaddr
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared.addresses import is_email_address, is_http_address, parse_smtp_url

MIN_SECRET_LENGTH = 32
ORIGIN = re.compile(r"https?://[^\s/*?#@]+")
JWKS_ADDRESS = re.compile(r"https?://[^\s/*?#@]+(/[^\s#]*)?|file:///[^?#]+")


def _split(value: Any) -> Any:
    """A comma-separated text as a tuple."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _rates(value: Any) -> Any:
    """admin=100,rh=20 as a mapping."""
    if not isinstance(value, str):
        return value
    pairs = [part.split("=") for part in value.replace(" ", "").split(",") if part]
    if not all(len(pair) == 2 and pair[0] and pair[1].isdecimal() and len(pair[1]) <= 9 for pair in pairs):
        raise ValueError("a number for each role, such as admin=100,rh=20,*=20")
    return {role: int(number) for role, number in pairs}


def _no_wildcard(value: tuple[str, ...]) -> tuple[str, ...]:
    wrong = [origin for origin in value if not ORIGIN.fullmatch(origin)]
    if wrong:
        raise ValueError(f"origins such as https://app.example.com, without a path or `*` (not {', '.join(wrong)})")
    return value


def _if_set(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: None if value is None else check(value))


def _origin(value: str) -> str:
    if not ORIGIN.fullmatch(value.rstrip("/")):
        raise ValueError("an address such as https://notifications.example.com, without a path")
    return value.rstrip("/")


def _postgresql(value: str) -> str:
    """With the driver that we bring."""
    scheme, _, rest = value.partition("://")
    if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not _can_be_read(value):
        raise ValueError("an address such as postgresql://user:password@host:5432/name")
    return f"postgresql+psycopg2://{rest}"


def _redis(value: str) -> str:
    if not (value.startswith(("redis://", "rediss://")) and _can_be_read(value)):
        raise ValueError("an address such as redis://:password@host:6379/0")
    return value


def _broker(value: str) -> str:
    if not (value.startswith(("redis://", "rediss://", "amqp://", "amqps://")) and _can_be_read(value)):
        raise ValueError("an address such as redis://:password@host:6379/1 or amqp://user:password@host:5672//")
    return value


def _can_be_read(value: str) -> bool:
    """Whether host and port can be read: else it would fail at the first use, without naming its key."""
    try:
        make_url(value)
    except (ArgumentError, ValueError):
        return False
    return True


def _long_enough(value: str) -> str:
    if value and len(value) < MIN_SECRET_LENGTH:
        raise ValueError("32 characters or more (RFC 7518 asks 256 bits for HS256)")
    return value


def _mail_server(value: str) -> str:
    parse_smtp_url(value)
    return value


def _sender(value: str | None, info: ValidationInfo) -> str | None:
    _, address = parseaddr(value or "")
    if value is None and info.data.get("smtp_url") is None:
        return None
    if not is_email_address(address) or not (value or "").isprintable():
        raise ValueError("an address such as StageBloom <notifications@example.org>")
    return value


def _http(value: str) -> str:
    if not is_http_address(value):
        raise ValueError("an address such as https://app.example.org/path")
    return value


def _signing_secret(value: str | None, info: ValidationInfo) -> str | None:
    if value is None and info.data.get("webhook_url") is None:
        return None
    try:
        key = base64.b64decode((value or "").removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("whsec_ and 24 to 64 random bytes in base64, as `openssl rand -base64 32` makes them")
    return value


def _keys_of_the_provider(value: str | None, info: ValidationInfo) -> str | None:
    is_needed = info.data.get("jwt_algorithm") == "RS256"
    if value is not None and not is_needed:
        raise ValueError("nothing, unless JWT_ALGORITHM is RS256: HS256 reads no public keys")
    if is_needed and not JWKS_ADDRESS.fullmatch(value or ""):
        raise ValueError(
            "an address such as https://id.example.com/certs or file:///etc/keys.json, because JWT_ALGORITHM is RS256"
        )
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Origins = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_no_wildcard)]
Rates = Annotated[Mapping[str, int], BeforeValidator(_rates)]
OriginOrNone = Annotated[str | None, _if_set(_origin)]
PostgresqlOrNone = Annotated[str | None, _if_set(_postgresql)]
RedisOrNone = Annotated[str | None, _if_set(_redis)]
BrokerOrNone = Annotated[str | None, _if_set(_broker)]
MailServerOrNone = Annotated[str | None, _if_set(_mail_server)]
HttpOrNone = Annotated[str | None, _if_set(_http)]
# These look at another setting, so they are checked also when they are not set.
Sender = Annotated[str | None, AfterValidator(_sender)]
SigningSecret = Annotated[str | None, AfterValidator(_signing_secret)]
PublicKeys = Annotated[str | None, AfterValidator(_keys_of_the_provider)]
SecretKey = Annotated[str, AfterValidator(_long_enough)]
