"""Step ⑥, the door: flask-sock does the WebSocket handshake, then the socket is parked.

Everything that can refuse a browser (Origin, caps, a bad bearer token) does so before the handshake, as
HTTP; afterwards the route only takes the descriptor out of gunicorn's hands. gunicorn is left with a
closed object and a free slot in its pool, so plain HTTP never waits for WebSockets.

Never: starts a thread or greenlet, asks the database, or raises after the handshake (flask-sock would
write an HTTP error page into the WebSocket).
"""

from __future__ import annotations

import base64
import binascii
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flask import Flask, g, request
from flask_sock import Sock

from gateway.refusals import Refusal
from gateway.sessions import SESSION_COOKIE
from shared.audit import NOBODY
from shared.errors import Forbidden, InvalidInput, Unauthorized, Unavailable
from shared.logs import get_logger
from shared.settings import Settings
from shared.tokens import Claims

if TYPE_CHECKING:
    from gateway.live import Live

log = get_logger("live")

PATH = "/ws/notifications/"
# What the handshake needs; without the extensions, permessage-deflate can't be accepted: it would cost
# 109 KiB per browser, and browsers always offer it.
HANDSHAKE_HEADERS = {
    "HTTP_HOST",
    "HTTP_CONNECTION",
    "HTTP_UPGRADE",
    "HTTP_SEC_WEBSOCKET_KEY",
    "HTTP_SEC_WEBSOCKET_VERSION",
}


@dataclass(slots=True)
class Admission:
    """A browser that may come in; `claims` when the handshake proved who it is."""

    claims: Claims | None
    address: str


class Nothing:
    """Stands in for the thread and the event of simple-websocket: nobody reads but the live loop."""

    name = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def set(self) -> None:
        pass


class HandshakeSocket:
    """gunicorn's socket during the handshake: a browser that is gone already is no error."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_lost = False

    def send(self, data: bytes) -> int:
        try:
            self.sock.sendall(data)
        except OSError:
            self.is_lost = True
        return len(data)


def register(app: Flask, live: Live, settings: Settings) -> None:
    """Add the WebSocket route and the checks before it."""
    app.config["SOCK_SERVER_OPTIONS"] = {"thread_class": Nothing, "event_class": Nothing}
    sock = Sock(app)

    @app.before_request
    def admit() -> None:
        if request.path != PATH:
            return
        g.admission = _admit(live, settings)
        _prepare_environment()

    @sock.route(PATH)
    def notifications(ws: Any) -> None:
        """The handshake is over: park."""
        ws.connected = False  # or flask-sock sends a close frame when we return
        try:
            _park(live, g.admission)
        except Exception:
            log.exception("parking_failed")


def _admit(live: Live, settings: Settings) -> Admission:
    """Raises: what is wrong with this handshake."""
    _check_handshake()
    if live.is_full:
        raise Unavailable("this gateway holds as many WebSockets as it may", reason="sockets")
    origin = request.headers.get("Origin")
    is_ours = origin is not None and is_own(origin, request.host, settings)
    if origin is not None and not is_ours and origin not in settings.allowed_origins:
        log.info("origin_refused", origin=origin[:200])
        raise Forbidden("Origin: this page may not connect", field="Origin", value=origin[:200])
    address = request.remote_addr or ""
    claims = _claims(live, is_ours=is_ours)
    if claims is None and live.unauthenticated_from(address) >= settings.max_unauthenticated_per_address:
        live.refusals.count(Refusal("rate.limited", NOBODY, address, f"GET {PATH}", "unauthenticated"))
        raise Unavailable("too many WebSockets of this address have not said who they are", reason="unauthenticated")
    return Admission(claims, address)


def _check_handshake() -> None:
    """flask-sock answers a bad handshake with a traceback: refuse it first."""
    headers = request.headers
    if headers.get("Upgrade", "").lower() != "websocket" or not _names(headers, "upgrade"):
        raise InvalidInput("Upgrade: expected a WebSocket handshake", field="Upgrade")
    if headers.get("Sec-WebSocket-Version") != "13":
        raise InvalidInput("Sec-WebSocket-Version: expected 13", field="Sec-WebSocket-Version")
    try:
        nonce = base64.b64decode(headers.get("Sec-WebSocket-Key", ""), validate=True)
    except (binascii.Error, ValueError):
        nonce = b""
    if len(nonce) != 16:
        raise InvalidInput("Sec-WebSocket-Key: expected 16 bytes in base64", field="Sec-WebSocket-Key")
    try:
        host = headers.get("Host", "").encode().decode("idna")  # as wsproto reads it
    except UnicodeError:
        host = ""
    if not host:
        raise InvalidInput("Host: expected the name of a host", field="Host")
    if not isinstance(request.environ.get("gunicorn.socket"), socket.socket):
        raise Unavailable("WebSockets need gunicorn with gevent, and TLS in front of it")


def _names(headers: Any, token: str) -> bool:
    return token in {part.strip().lower() for part in headers.get("Connection", "").split(",")}


def is_own(origin: str, host: str, settings: Settings) -> bool:
    """Whether it is the origin of our own pages: the host and port that the browser itself has asked for (TLS may
    end at a proxy), or PUBLIC_URL (the proxy may have changed the host). Pages of ALLOWED_ORIGINS are not ours.
    """
    if origin == settings.public_url:
        return True
    own = {host, f"{settings.host}:{settings.port}", f"localhost:{settings.port}", f"127.0.0.1:{settings.port}"}
    try:
        parts = urlsplit(origin)
    except ValueError:  # such as http://[
        return False
    return parts.scheme in ("http", "https") and parts.netloc in own


def _claims(live: Live, *, is_ours: bool) -> Claims | None:
    """What the handshake proves. Raises: Unauthorized for a bad bearer token, Forbidden for a service's key.

    A cookie that can't be read proves nothing, and the page may still send a ticket. Nor does one that comes
    without Origin, which no page sends, or from a page that is not ours: browsers add cookies by themselves.
    """
    if "Authorization" in request.headers:
        caller = live.authenticator.caller(request)
        return caller.claims if caller else None
    if not is_ours or SESSION_COOKIE not in request.cookies:
        return None
    try:
        caller = live.authenticator.caller(request)
    except Unauthorized:
        return None
    return caller.claims if caller else None


def _prepare_environment() -> None:
    """Leave simple-websocket only what it may use."""
    environ = request.environ
    for name in [name for name in environ if name.startswith("HTTP_")]:
        if name not in HANDSHAKE_HEADERS:
            del environ[name]
    environ["HTTP_CONNECTION"] = "Upgrade"  # looked at already; wsproto stumbles over other letters than ASCII
    environ["gunicorn.socket"] = HandshakeSocket(environ["gunicorn.socket"])


def _park(live: Live, admission: Admission) -> None:
    handshake: HandshakeSocket = request.environ["gunicorn.socket"]
    if handshake.is_lost:
        return
    # Frames that came in one packet with the handshake are in gunicorn's parser.
    early = request.environ["wsgi.input"].reader.unreader.take_buffered()
    handshake.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Not os.dup: libev would rebuild its whole epoll set for the stale registration.
    live.park(handshake.sock.detach(), admission, early)
