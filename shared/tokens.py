"""Bearer tokens (JWT): they say who is calling, never what they may do.

With JWT_ALGORITHM=HS256 they are signed with our own key, with RS256 by an identity provider whose
public keys JWT_JWKS_URL names. The setting decides, never the token: one that says another algorithm is
refused before any key is looked at, so a public key can't be mistaken for a secret. Browser sessions
are ours in both cases.

Roles and groups come from the database at every request, so a role that was taken away is gone at
once. A message of refusal says what is wrong with a token and never repeats any of it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from shared import jwks
from shared.errors import SettingsError, Unauthorized
from shared.jwks import KeySet
from shared.settings import Settings
from shared.texts import is_storable

OWN_ALGORITHM = "HS256"
MAX_TOKEN_CHARACTERS = 4096  # what a header carries comfortably; longer ones are refused unread
MAX_PERSON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token proves: the person's external id, until when (UTC, aware), and the rest as it came."""

    person: str
    expires_at: datetime
    extra: dict[str, Any] = field(default_factory=dict)


def can_issue_tokens(settings: Settings) -> bool:
    """Whether tokens made here are accepted: not when an identity provider signs them."""
    return settings.jwt_algorithm == OWN_ALGORITHM


def issue_token(settings: Settings, external_id: str, lifetime_seconds: int | None = None) -> str:
    """A bearer token for one person, for TOKEN_LIFETIME_SECONDS unless said otherwise.

    Raises: SettingsError with RS256, where only the identity provider can make tokens.
    """
    if settings.jwt_algorithm != OWN_ALGORITHM:
        message = f"JWT_ALGORITHM={settings.jwt_algorithm}: tokens come from the identity provider; this installation only reads them"
        raise SettingsError(message, key="JWT_ALGORITHM")
    lifetime = timedelta(seconds=settings.token_lifetime_seconds if lifetime_seconds is None else lifetime_seconds)
    return encode(settings, settings.jwt_audience, external_id, datetime.now(UTC) + lifetime)


def verify_token(settings: Settings, token: str) -> Claims:
    """What a bearer token proves. Raises: Unauthorized, with `reason` in its details; Unavailable (RS256).

    With RS256 it may wait for the identity provider, up to 3 s: see `is_quick`.
    """
    if settings.jwt_algorithm == OWN_ALGORITHM:
        return decode(settings, settings.jwt_audience, token)
    key = key_set(settings).find(_key_id(token))
    if key is None:
        raise _refused("key", "the token is signed with a key that the identity provider does not publish")
    return _decode(settings, settings.jwt_audience, token, key, jwks.ALGORITHM)


def is_quick(settings: Settings, token: str) -> bool:
    """Whether `verify_token` answers without waiting for anyone."""
    if settings.jwt_algorithm == OWN_ALGORITHM:
        return True
    with contextlib.suppress(Unauthorized):
        return key_set(settings).holds(_key_id(token))
    return True


def encode(settings: Settings, audience: str, external_id: str, expires_at: datetime, **extra: Any) -> str:
    """A token for `audience`, signed with our own key; a bearer token is one for JWT_AUDIENCE."""
    claims = {
        **extra,
        settings.jwt_person_claim: external_id,
        "iss": settings.jwt_issuer,
        "aud": audience,
        "iat": datetime.now(UTC),
        "exp": expires_at,
    }
    return jwt.encode(claims, settings.signing_key(), algorithm=OWN_ALGORITHM)


def decode(settings: Settings, audience: str, token: str) -> Claims:
    """The claims of a token for `audience` that we signed, all of them checked. Raises: Unauthorized."""
    return _decode(settings, audience, token, settings.signing_key(), OWN_ALGORITHM)


def key_set(settings: Settings) -> KeySet:
    """The identity provider's keys, kept once a process."""
    address = str(settings.jwt_jwks_url)
    # A forked child makes its own: a fetch under way in the parent never ends in it. Two at once do no harm.
    key = (os.getpid(), address, settings.jwt_jwks_refresh_seconds, settings.jwt_jwks_retry_seconds)
    found = _key_sets.get(key)
    return found or _key_sets.setdefault(key, KeySet(*key[1:]))


_key_sets: dict[tuple[int, str, int, int], KeySet] = {}


def _key_id(token: str) -> str | None:
    """The key that a token for RS256 names. Raises: Unauthorized, also for every other algorithm."""
    _refuse_long(token)
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        raise _malformed() from None
    if header.get("alg") != jwks.ALGORITHM:
        raise _refused("algorithm", f"the token is not signed with {jwks.ALGORITHM}")
    found: str | None = header.get("kid")
    return found


def _decode(settings: Settings, audience: str, token: str, key: Any, algorithm: str) -> Claims:
    _refuse_long(token)
    try:
        claims = jwt.decode(
            token,
            key,
            algorithms=[algorithm],  # the only one that is read: neither "none" nor a public key can stand in
            audience=audience,
            issuer=settings.jwt_issuer,
            options={"require": ["exp", "aud", "iss"], "verify_iat": False},  # a clock a second ahead is no forgery
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    except jwt.ExpiredSignatureError:
        raise _refused("expired", "the token has expired") from None
    except jwt.InvalidSignatureError:
        whose = "this installation's" if algorithm == OWN_ALGORITHM else "the identity provider's"
        raise _refused("signature", f"the token is not signed with {whose} key") from None
    except jwt.InvalidAlgorithmError:
        raise _refused("algorithm", f"the token is not signed with {algorithm}") from None
    except jwt.InvalidAudienceError:
        raise _refused("audience", f"the token is for another audience than {audience!r}") from None
    except jwt.InvalidIssuerError:
        raise _refused("issuer", f"the token is not from the issuer {settings.jwt_issuer!r}") from None
    except jwt.ImmatureSignatureError:
        raise _refused("not_yet_valid", "the token is not valid yet") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused("claim", f"the token lacks the claim {error.claim!r}") from None
    except jwt.exceptions.InvalidSubjectError:
        raise _refused("claim", "the token's claim 'sub' is not a string") from None
    except (jwt.InvalidTokenError, ValueError, OverflowError, OSError, TypeError, RecursionError):
        raise _malformed() from None
    return Claims(_person(claims.get(settings.jwt_person_claim), settings.jwt_person_claim), expires_at, claims)


def _refuse_long(token: str) -> None:
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _refused("malformed", f"the token is longer than {MAX_TOKEN_CHARACTERS} characters")


def _malformed() -> Unauthorized:
    return _refused("malformed", "the token can't be read: it is not a JWT")


def _person(value: Any, claim: str) -> str:
    """The person a claim names: a string, or the integer that many applications number people with."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PERSON_CHARACTERS or not is_storable(value):
        raise _refused("claim", f"the token's claim {claim!r} names no person")
    return value


def _refused(reason: str, message: str) -> Unauthorized:
    return Unauthorized(message, reason=reason)
