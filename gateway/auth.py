"""Who is calling: bearer token, session cookie or ticket → claims → the person in the database; or a
service, by its key.

A token says who; what they may do is read from the database each time. An Authorization header that
is there decides alone: a bad one is refused, never replaced by the cookie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

import redis
from flask import Request, current_app, g, request
from sqlalchemy.orm import Session

from gateway import redis as gateway_redis
from gateway import tickets
from gateway.limits import RateLimits
from gateway.people import Person, load_people
from gateway.sessions import SESSION_COOKIE, check_csrf, read_session
from gateway.transactions import in_transaction
from shared.audit import NOBODY, Actor
from shared.errors import Forbidden, Unauthorized
from shared.installation import installation_id
from shared.services import KnownService, find_service, is_service_key
from shared.settings import Settings
from shared.tokens import Claims, issue_token, verify_token

View = TypeVar("View", bound=Callable[..., Any])

FOR_PEOPLE = "this is for people: a service has no inbox and sees nobody's"


@dataclass(frozen=True, slots=True)
class Caller:
    """What a request proves; `is_session` when by cookie, so that its writes need the CSRF value."""

    claims: Claims
    is_session: bool


class Authenticator:
    """Checks tokens, cookies and tickets of one installation. Connects at first use; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._redis: redis.Redis | None = None
        self._installation_id: str | None = None
        self.limits = RateLimits(self)

    def issue_token(self, external_id: str, lifetime_seconds: int | None = None) -> str:
        """A bearer token for one person."""
        return issue_token(self.settings, external_id, lifetime_seconds)

    def verify_token(self, token: str) -> Claims:
        """What a bearer token proves. Raises: Unauthorized; Forbidden for the key of a service, good or not."""
        if is_service_key(token):
            raise Forbidden(FOR_PEOPLE, reason="person_needed")
        return verify_token(self.settings, token)

    def caller(self, request: Request) -> Caller | None:
        """What a request proves; None when it carries neither Authorization header nor cookie.

        Does not ask the database. Raises: as `verify_token`.
        """
        header = request.headers.get("Authorization")
        if header is not None:
            scheme, _, token = header.partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise Unauthorized("Authorization: expected `Bearer <token>`", reason="malformed")
            return Caller(self.verify_token(token.strip()), is_session=False)
        cookie = request.cookies.get(SESSION_COOKIE)
        return None if cookie is None else Caller(read_session(self.settings, cookie), is_session=True)

    def make_ticket(self, claims: Claims) -> tuple[str, int]:
        """A single-use ticket for a WebSocket, and its life in seconds. Raises: Unavailable."""
        return tickets.make_ticket(self.redis, self.installation_id(), claims)

    def redeem_ticket(self, ticket: object) -> Claims:
        """What a ticket proves; it is gone then. Raises: Unauthorized, Unavailable."""
        return tickets.redeem_ticket(self.redis, self.installation_id(), ticket)

    def person(self, claims: Claims) -> Person:
        """The person that claims name, as the database knows them now. Raises: Unauthorized, Unavailable."""
        return in_transaction(self.settings, lambda session: find_person(session, claims.person))

    def service(self, key: str) -> KnownService:
        """The active service that a key belongs to. Raises: Unauthorized, Unavailable."""
        return in_transaction(self.settings, lambda session: find_service(session, key))

    @property
    def redis(self) -> redis.Redis:
        """The client that requests of this process share."""
        if self._redis is None:
            self._redis = gateway_redis.connect(self.settings)
        return self._redis

    def installation_id(self) -> str:
        """Which installation the database is; asked once. Raises: Unavailable."""
        if self._installation_id is None:
            self._installation_id = in_transaction(self.settings, installation_id)
        return self._installation_id


def find_person(session: Session, external_id: str) -> Person:
    """An active person. Raises: Unauthorized with the `reason` unknown_person or deactivated."""
    person = load_people(session, [external_id]).get(external_id)
    if person is None:
        raise Unauthorized("the token names a person who is not known here", reason="unknown_person")
    if not person.is_active:
        raise Unauthorized("this person is deactivated", reason="deactivated")
    return person


def current_authenticator() -> Authenticator:
    """The authenticator of the running app; it carries the settings too."""
    found: Authenticator = current_app.extensions["authenticator"]
    return found


def current_person() -> Person:
    """Who is calling, in a view that requires a person."""
    person: Person = g.person
    return person


def current_caller() -> Caller:
    """What the request proved, in a view that requires a person."""
    caller: Caller = g.caller
    return caller


def current_service() -> KnownService | None:
    """The service that is calling, where services may; None when a person is."""
    service: KnownService | None = g.get("service")
    return service


def current_actor() -> Actor:
    """Who is calling, as the audit log names them; `nobody` when the request did not prove it."""
    if (service := current_service()) is not None:
        name = Actor.service(service.name).name
    elif "caller" in g:
        name = Actor.person(g.caller.claims.person).name
    else:
        name = NOBODY
    return Actor(name, request.remote_addr, g.get("request_id"))


def requires_person(view: View) -> View:
    """Let only known, active people in; writes by cookie also need the CSRF value."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        authenticator = current_authenticator()
        if (key := _service_key()) is not None:
            g.service = authenticator.service(key)
            raise Forbidden(FOR_PEOPLE, reason="person_needed")
        caller = authenticator.caller(request)
        if caller is None:
            raise Unauthorized(
                "no token: expected `Authorization: Bearer <token>` or a session cookie", reason="missing"
            )
        if caller.is_session:
            check_csrf(request, caller.claims)
        g.caller = caller
        g.person = authenticator.person(caller.claims)
        authenticator.limits.count_request(g.person)
        return view(*arguments, **named)

    guarded.requires_person = True  # type: ignore[attr-defined]  # what the test of the URL map looks for
    return guarded  # type: ignore[return-value]


def requires_role(roles: Callable[[Settings], tuple[str, ...]]) -> Callable[[View], View]:
    """Let only people in who have one of the roles that a setting names."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*arguments: Any, **named: Any) -> Any:
            refuse_without(roles(current_authenticator().settings), "this")
            return view(*arguments, **named)

        return requires_person(guarded)  # type: ignore[return-value]

    return decorate


def requires_service_or_role(permission: str, roles: Callable[[Settings], tuple[str, ...]]) -> Callable[[View], View]:
    """Let services in that have a permission, and people who have one of the roles that a setting names."""

    def decorate(view: View) -> View:
        as_person = requires_role(roles)(view)

        @wraps(as_person)
        def guarded(*arguments: Any, **named: Any) -> Any:
            key = _service_key()
            if key is None:
                return as_person(*arguments, **named)
            service = g.service = current_authenticator().service(key)
            if permission not in service.permissions:
                raise Forbidden(
                    f"this needs the permission {permission!r}, which the service lacks", permission=permission
                )
            return view(*arguments, **named)

        return guarded  # type: ignore[return-value]

    return decorate


def _service_key() -> str | None:
    """The service key that the request carries, if it is one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and is_service_key(token) else None


def refuse_without(roles: tuple[str, ...], what: str) -> None:
    """Raises: Forbidden when the caller has none of the roles, naming them."""
    if not set(roles) & set(current_person().roles):
        raise Forbidden(f"{what} needs one of the roles {', '.join(roles)}", roles=list(roles))
