"""Where a credential stands in a request, and the port of those who can judge it."""

from collections.abc import Sequence
from typing import Protocol

from starlette.types import Scope as AsgiScope

from fanfold.auth.principal import Principal
from fanfold.core.errors import NotAuthenticated

MAX_CREDENTIAL_BYTES = 4096
_AUTHORIZATION, _API_KEY = b"authorization", b"x-api-key"
_NAMES = frozenset({_AUTHORIZATION, _API_KEY})
NO_CREDENTIAL = (
    "No credential was sent. Send an API key as `Authorization: Bearer ff_live_...` or `X-API-Key: ff_live_...`, or an "
    "access token of `POST /v1/auth/token` as `Authorization: Bearer ...`."
)


class Authenticator(Protocol):
    """Judges credentials of one kind; main wires those there are."""

    async def authenticate(self, credential: str) -> Principal | None:
        """Return the principal of a credential that holds, else None."""
        ...


async def authenticate(authenticators: Sequence[Authenticator], credential: str) -> Principal | None:
    """Return the principal of a credential that holds, whatever its kind; else None."""
    for authenticator in authenticators:
        if principal := await authenticator.authenticate(credential):
            return principal
    return None


def refusal(credential: str | None) -> NotAuthenticated:
    """Return the 401 for whoever sent no credential, or one that does not hold."""
    if credential is None:
        return NotAuthenticated(NO_CREDENTIAL)
    return NotAuthenticated(
        "The credential does not hold: it is unknown, expired or revoked. Check that it is whole, sign in "
        "again, or have a key made.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def read_credential(scope: AsgiScope) -> str | None:
    """Return the credential of `Authorization: Bearer` or else `X-API-Key`; None where neither was sent.

    Of two of a kind a proxy may have judged the other one: neither holds.
    """
    found: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _NAMES:
            if name in found:
                return ""
            found[name] = value
    if _AUTHORIZATION in found and found[_AUTHORIZATION][:7].lower() == b"bearer ":
        return _text(found[_AUTHORIZATION][7:])
    return _text(found[_API_KEY]) if _API_KEY in found else None


def _text(value: bytes) -> str:
    return value.strip().decode("ascii", "replace") if len(value) <= MAX_CREDENTIAL_BYTES else ""
