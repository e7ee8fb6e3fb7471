"""Every error this project raises on purpose: class = code, HTTP status, retryable.

NotificationError
├── InvalidInput            400  a field, its value and what was expected
│   ├── InvalidAudience     400  a malformed or empty audience
│   ├── UnknownGroup        400  a role, group or person that nobody has recorded
│   └── TooLarge            413  a body or a field beyond its limit
├── Unauthorized            401  no token, or one that is expired, forged or foreign
├── Forbidden               403  known, but not allowed to do this
├── NotFound                404  not there, or not yours
├── Conflict                409  the same idempotency key with other content
├── RateLimited             429  retryable: more than a person may ask or send in a second
├── Timeout                 504  retryable: the wait ended before the work did
├── Unavailable             503  retryable: a server could not be reached, or is busy
└── SettingsError           500  all faults of the configuration, in one message
"""

from __future__ import annotations

from typing import Any


class NotificationError(Exception):
    """The root of the tree. `details` is JSON-ready and names what was wrong."""

    code = "error"
    status = 500
    retryable = False

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        """The body that HTTP answers and WebSocket `error` frames carry."""
        return {"code": self.code, "message": self.message, "details": self.details}


class InvalidInput(NotificationError):
    """A field has a value that can't be used: says which, what it was and what was expected."""

    code = "invalid_input"
    status = 400

    @classmethod
    def field(cls, name: str, value: Any, expected: str) -> InvalidInput:
        """The usual form: `title: expected 1 to 200 characters, got ''`."""
        shown = repr(value)
        if len(shown) > 100:
            shown = shown[:97] + "..."
        return cls(f"{name}: expected {expected}, got {shown}", field=name, value=shown, expected=expected)


class InvalidAudience(InvalidInput):
    """An audience that is empty or can't be read."""

    code = "invalid_audience"


class UnknownGroup(InvalidInput):
    """Groups or people that nobody has recorded: nearly always a typing error."""

    code = "unknown_group"


class TooLarge(InvalidInput):
    """Longer than the limit of its field, or of a request body."""

    code = "too_large"
    status = 413


class Unauthorized(NotificationError):
    """No token, or one that is expired, forged, foreign or of a deactivated person."""

    code = "unauthorized"
    status = 401


class Forbidden(NotificationError):
    """Known, but not allowed."""

    code = "forbidden"
    status = 403


class NotFound(NotificationError):
    """Not there, or not yours: the two are not told apart."""

    code = "not_found"
    status = 404


class Conflict(NotificationError):
    """The same idempotency key came with other content."""

    code = "conflict"
    status = 409


class RateLimited(NotificationError):
    """More than a person may ask or send in a second; `retry_after_seconds` is in the details."""

    code = "rate_limited"
    status = 429
    retryable = True


class Timeout(NotificationError):
    """The wait ended before the work did; the work goes on."""

    code = "timeout"
    status = 504
    retryable = True


class Unavailable(NotificationError):
    """A server can't be reached or is busy; the same call may succeed later."""

    code = "unavailable"
    status = 503
    retryable = True


class SettingsError(NotificationError):
    """Every fault of the configuration at once, each with its key, value and what was expected."""

    code = "settings"
