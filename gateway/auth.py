"""Who is calling: bearer token, session cookie or ticket → claims → the person in the database.

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
from gateway.people import Person, load_people
from gateway.sessions import SESSION_COOKIE, check_csrf, read_session
from gateway.transactions import in_transaction
from shared.errors import Forbidden, Unauthorized
from shared.installation import installation_id
from shared.settings import Settings
from shared.tokens import Claims, issue_token, verify_token

View = TypeVar("View", bound=Callable[..., Any])


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

    def issue_token(self, external_id: str, lifetime_seconds: int | None = None) -> str:
        """A bearer token for one person."""
        return issue_token(self.settings, external_id, lifetime_seconds)

    def verify_token(self, token: str) -> Claims:
        """What a bearer token proves. Raises: Unauthorized."""
        return verify_token(self.settings, token)

    def caller(self, request: Request) -> Caller | None:
        """What a request proves; None when it carries neither Authorization header nor cookie.

        Does not ask the database. Raises: Unauthorized for one that is bad.
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


def requires_person(view: View) -> View:
    """Let only known, active people in; writes by cookie also need the CSRF value."""

    @wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:
        authenticator = current_authenticator()
        caller = authenticator.caller(request)
        if caller is None:
            raise Unauthorized("no token: expected `Authorization: Bearer <token>` or a session cookie", reason="missing")
        if caller.is_session:
            check_csrf(request, caller.claims)
        g.caller, g.person = caller, authenticator.person(caller.claims)
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


def refuse_without(roles: tuple[str, ...], what: str) -> None:
    """Raises: Forbidden when the caller has none of the roles, naming them."""
    if not set(roles) & set(current_person().roles):
        raise Forbidden(f"{what} needs one of the roles {', '.join(roles)}", roles=list(roles))
