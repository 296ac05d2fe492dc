"""Where a credential stands in a request, and the port of those who can judge it."""

from typing import Protocol

from starlette.types import Scope as AsgiScope

from fanfold.auth.principal import Principal

MAX_CREDENTIAL_BYTES = 4096
NO_CREDENTIAL = (
    "No credential was sent. Send an API key as `Authorization: Bearer ff_live_...` or `X-API-Key: ff_live_...`, or an "
    "access token of `POST /v1/auth/token` as `Authorization: Bearer ...`."
)


class Authenticator(Protocol):
    """Judges credentials of one kind; main wires those there are."""

    async def authenticate(self, credential: str) -> Principal | None:
        """Return the principal of a credential that holds, else None."""
        ...


def read_credential(scope: AsgiScope) -> str | None:
    """Return the credential of `Authorization: Bearer` or else `X-API-Key`; None where neither was sent.

    Of two of a kind a proxy may have judged the other one: neither holds.
    """
    bearers = [value for name, value in scope["headers"] if name == b"authorization"]
    keys = [value for name, value in scope["headers"] if name == b"x-api-key"]
    if len(bearers) > 1 or len(keys) > 1:
        return ""
    if bearers and bearers[0][:7].lower() == b"bearer ":
        return _text(bearers[0][7:])
    return _text(keys[0]) if keys else None


def _text(value: bytes) -> str:
    return value.strip().decode("ascii", "replace") if len(value) <= MAX_CREDENTIAL_BYTES else ""
