"""Addresses of other channels, checked before anything is sent there: mail servers, people, HTTP."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

# No quotes, no comments, no space, no line break and nothing invisible: nothing in it can become a header.
LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+")
DOMAIN = re.compile(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")
MAX_LOCAL_BYTES, MAX_ADDRESS_BYTES = 64, 254  # RFC 5321
SMTP_TLS = {"none": 25, "starttls": 587, "implicit": 465}  # and the port that is usual for it


@dataclass(frozen=True, slots=True)
class EmailAddress:
    """Where mail can go. `domain` is ASCII, as DNS has it."""

    local_part: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local_part}@{self.domain}"

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only servers that speak SMTPUTF8 (RFC 6531) can take it."""
        return not self.local_part.isascii()


def parse_email_address(value: str) -> EmailAddress | None:
    """An address read; None for what can't be one as far as its form says."""
    local_part, _, domain = value.rpartition("@")
    try:
        found = EmailAddress(local_part, _ascii_domain(domain))
    except UnicodeError:
        return None
    is_good = (
        LOCAL_PART.fullmatch(local_part) is not None
        and local_part.isprintable()
        and len(local_part.encode()) <= MAX_LOCAL_BYTES
        and DOMAIN.fullmatch(found.domain) is not None
        and len(str(found).encode()) <= MAX_ADDRESS_BYTES
        and ".." not in local_part
        and "=?" not in local_part  # an encoded word (RFC 2047): some readers would see another address
    )
    return found if is_good else None


def looks_like_email(value: str) -> bool:
    """Whether it could be somebody's address, in any script: one @ with something before and behind it, no space.

    Looser than `parse_email_address`: whoever keeps addresses must not refuse one that exists.
    """
    return re.fullmatch(r"[^\s@]+@[^\s@]+", value) is not None


def is_email_address(value: str) -> bool:
    """Whether it is an address that every server can take."""
    return value.isascii() and parse_email_address(value) is not None


def _ascii_domain(domain: str) -> str:
    """`münchen.example` as `xn--mnchen-3ya.example`. Raises: UnicodeError.

    Python knows IDNA 2003, which makes another domain of some letters that IDNA 2008 has (ß becomes ss):
    what doesn't come back as it went is refused, for its mail would go to a stranger.
    """
    if domain.isascii():
        return domain
    wanted = unicodedata.normalize("NFC", domain.lower())
    found = wanted.encode("idna")
    if found.decode("idna") != wanted:
        raise UnicodeError(f"{domain!r} is another domain in IDNA 2003 than in IDNA 2008")
    return found.decode("ascii")


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
