"""Addresses of other channels, checked before anything is sent there: mail servers, people, HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# A part before the @ in ASCII: others need SMTPUTF8, which servers on the way may lack. No quotes, no
# comments, no space and no line break: nothing in it can become a header.
EMAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
SMTP_TLS = {"none": 25, "starttls": 587, "implicit": 465}  # and the port that is usual for it


def is_email_address(value: str) -> bool:
    """Whether mail can go there as far as its form says."""
    return len(value) <= 254 and EMAIL_ADDRESS.fullmatch(value) is not None and ".." not in value


def is_http_address(value: str) -> bool:
    """Whether it has a scheme we speak, a host, perhaps a port, no user and nothing invisible."""
    try:
        parts = urlsplit(value)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and value.isascii()
            and value.isprintable()
            and " " not in value
        )
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class SmtpAddress:
    """A mail server. `tls` is `implicit` (from the first byte), `starttls` or `none`."""

    host: str
    port: int
    tls: str
    user: str | None = None
    password: str | None = None


def parse_smtp_url(value: str) -> SmtpAddress:
    """SMTP_URL read: `smtps://`, `smtp+starttls://`, or `smtp://` with an optional `?tls=`.

    A password over smtp:// needs TLS, or `?tls=none` said openly. Raises: ValueError saying what was expected.
    """
    expected = "expected an address such as smtps://user:password@host:465 or smtp+starttls://user:password@host:587"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    tls = {"smtps": "implicit", "smtp+starttls": "starttls", "smtp": "none"}.get(parts.scheme)
    if tls is None or not parts.hostname or port == 0 or parts.path not in ("", "/"):
        raise ValueError(expected)
    if parts.query:
        name, _, asked = parts.query.partition("=")
        if parts.scheme != "smtp" or name != "tls" or asked not in SMTP_TLS:
            raise ValueError(f"expected ?tls= after smtp:// to be one of {', '.join(SMTP_TLS)}")
        tls = asked
    elif parts.password is not None and tls == "none":
        raise ValueError("expected TLS for a password: smtps://, smtp+starttls://, or ?tls=none to send it unprotected")
    user, password = (None if given is None else unquote(given) for given in (parts.username, parts.password))
    return SmtpAddress(parts.hostname, port or SMTP_TLS[tls], tls, user, password)
