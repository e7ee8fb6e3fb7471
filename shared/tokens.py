"""Bearer tokens (JWT, HS256): they say who is calling, never what they may do.

Roles and groups come from the database at every request, so a role that was taken away is gone at
once. A message of refusal says what is wrong with a token and never repeats any of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from shared.errors import Unauthorized
from shared.settings import Settings

ALGORITHM = "HS256"  # the only one that is read: neither "none" nor a public key can stand in
MAX_TOKEN_CHARACTERS = 4096  # what a header carries comfortably; longer ones are refused unread
MAX_PERSON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token proves: the person's external id, until when (UTC, aware), and the rest as it came."""

    person: str
    expires_at: datetime
    extra: dict[str, Any] = field(default_factory=dict)


def issue_token(settings: Settings, external_id: str, lifetime_seconds: int | None = None) -> str:
    """A bearer token for one person, for TOKEN_LIFETIME_SECONDS unless said otherwise."""
    lifetime = timedelta(seconds=settings.token_lifetime_seconds if lifetime_seconds is None else lifetime_seconds)
    return encode(settings, settings.jwt_audience, external_id, datetime.now(UTC) + lifetime)


def verify_token(settings: Settings, token: str) -> Claims:
    """What a bearer token proves. Raises: Unauthorized, with `reason` in its details."""
    return decode(settings, settings.jwt_audience, token)


def encode(settings: Settings, audience: str, external_id: str, expires_at: datetime, **extra: Any) -> str:
    """A signed token for `audience`; `verify_token` accepts JWT_AUDIENCE only."""
    claims = {
        **extra,
        settings.jwt_person_claim: external_id,
        "iss": settings.jwt_issuer,
        "aud": audience,
        "iat": datetime.now(UTC),
        "exp": expires_at,
    }
    return jwt.encode(claims, settings.signing_key(), algorithm=ALGORITHM)


def decode(settings: Settings, audience: str, token: str) -> Claims:
    """The claims of a token for `audience`, all of them checked. Raises: Unauthorized."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise _refused("malformed", f"the token is longer than {MAX_TOKEN_CHARACTERS} characters")
    try:
        claims = jwt.decode(
            token,
            settings.signing_key(),
            algorithms=[ALGORITHM],
            audience=audience,
            issuer=settings.jwt_issuer,
            options={"require": ["exp", "aud", "iss"], "verify_iat": False},  # a clock a second ahead is no forgery
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    except jwt.ExpiredSignatureError:
        raise _refused("expired", "the token has expired") from None
    except jwt.InvalidSignatureError:
        raise _refused("signature", "the token is not signed with this installation's key") from None
    except jwt.InvalidAlgorithmError:
        raise _refused("algorithm", f"the token is not signed with {ALGORITHM}") from None
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
    except (jwt.InvalidTokenError, ValueError, OverflowError, OSError, TypeError):
        raise _refused("malformed", "the token can't be read: it is not a JWT") from None
    return Claims(_person(claims.get(settings.jwt_person_claim), settings.jwt_person_claim), expires_at, claims)


def _person(value: Any, claim: str) -> str:
    """The person a claim names: a string, or the integer that many applications number people with."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_PERSON_CHARACTERS or "\0" in value:
        raise _refused("claim", f"the token's claim {claim!r} names no person")
    return value


def _refused(reason: str, message: str) -> Unauthorized:
    return Unauthorized(message, reason=reason)
