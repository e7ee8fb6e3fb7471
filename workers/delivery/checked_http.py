"""One POST to an address that somebody configured: no inner network is reached through it.

The name is resolved once, what it leads to is checked, and the connection goes to that checked address:
a name that answers differently the second time (DNS rebinding) gains nothing. Redirects are not
followed, proxies of the environment not used, and the whole takes at most `TOTAL_SECONDS`.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from workers.delivery.deadline import Deadline

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
TOTAL_SECONDS = 15.0  # after connecting
MAX_ADDRESSES = 3  # of one name: what is tried takes a bounded time
SAID_BYTES = 300  # of the answer, for the person who looks why it failed

# All of IPv6 that is given out. Outside of it are loopback, site and link, and most forms that carry an IPv4
# address, perhaps a private one (`::127.0.0.1`, `64:ff9b::10.0.0.1`); within it, those of 6to4 and Teredo.
GIVEN_OUT = ipaddress.ip_network("2000::/3")
TUNNELS = tuple(ipaddress.ip_network(prefix) for prefix in ("2002::/16", "2001::/32"))


class PrivateAddress(Exception):
    """The name leads to addresses that are not public, and nothing else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered: its status, the beginning of what it said, and when it may be asked again."""

    status: int
    said: str
    retry_after: str | None


def post(url: str, body: bytes, headers: Mapping[str, str], *, allow_private: bool) -> Answer:
    """POST and read the answer's beginning. Raises: PrivateAddress, OSError, http.client.HTTPException."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    sock = _connect(resolve(host, port, allow_private))
    try:
        with Deadline(TOTAL_SECONDS, lambda: sock):
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
            connection.sock = sock
            connection.request("POST", target, body, {**headers, "Host": parts.netloc})
            with connection.getresponse() as answer:
                return Answer(answer.status, _beginning(answer), answer.getheader("Retry-After"))
    finally:
        sock.close()


def _beginning(answer: http.client.HTTPResponse) -> str:
    """Of the body of a failure. The status has said all that counts: a body that never ends changes nothing."""
    if 200 <= answer.status < 300:
        return ""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return " ".join(answer.read(SAID_BYTES).decode(errors="replace").split())
    return ""


def resolve(host: str, port: int, allow_private: bool) -> list[tuple[str, int]]:
    """The addresses of a name that may be connected to. Raises: PrivateAddress, socket.gaierror."""
    found = dict.fromkeys(
        (str(info[4][0]), int(info[4][1])) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    allowed = [address for address in found if allow_private or is_public(address[0])]
    if not allowed:
        raise PrivateAddress(
            f"{host} is at {', '.join(address for address, _ in found)}: not a public address; WEBHOOK_ALLOW_PRIVATE=true allows it"
        )
    return allowed[:MAX_ADDRESSES]


def is_public(address: str) -> bool:
    """Whether everyone may be there: not this machine, not a private network, not the link (cloud metadata)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found not in GIVEN_OUT or any(found in tunnel for tunnel in TUNNELS):
            return False
    return found.is_global and not found.is_multicast


def _connect(addresses: list[tuple[str, int]]) -> socket.socket:
    for n, address in enumerate(addresses):
        try:
            sock = socket.create_connection(address, timeout=CONNECT_SECONDS)
        except OSError:
            if n == len(addresses) - 1:
                raise
        else:
            sock.settimeout(ANSWER_SECONDS)
            return sock
    raise AssertionError("there is at least one address")
