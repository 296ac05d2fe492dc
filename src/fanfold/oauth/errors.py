"""What OAuth endpoints answer instead of a problem (RFC 6749, section 5.2)."""

from typing import ClassVar


class OAuthError(Exception):
    """A refusal, as `{"error", "error_description"}`. The description never repeats the input."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"

    def __init__(self, description: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(description)
        self.description, self.headers = description, headers or {}


class InvalidRequest(OAuthError):
    """A parameter is missing, given twice, or malformed."""


class InvalidClient(OAuthError):
    """The client is unknown, or its secret is wrong."""

    status, code = 401, "invalid_client"


class InvalidGrant(OAuthError):
    """Address, password, code or refresh token do not hold. Which of them is not said."""

    code = "invalid_grant"


class UnsupportedGrantType(OAuthError):
    """No such grant here."""

    code = "unsupported_grant_type"


class InvalidScope(OAuthError):
    """A scope that does not exist, or that whoever asks does not have."""

    code = "invalid_scope"


class TemporarilyUnavailable(OAuthError):
    """Too many requests, or too much work queued; `Retry-After` says when to try again."""

    status, code = 503, "temporarily_unavailable"


class TooManyTries(TemporarilyUnavailable):
    """Too many tries from there."""

    status: ClassVar[int] = 429
