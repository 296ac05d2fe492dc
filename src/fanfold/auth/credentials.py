"""Where a credential stands in a request, and the port of those who can judge it."""

from typing import Protocol

from starlette.types import Scope as AsgiScope

from fanfold.auth.principal import Principal

MAX_CREDENTIAL_BYTES = 4096


class Authenticator(Protocol):
    """Judges credentials of one kind; main wires those there are."""

    async def authenticate(self, credential: str) -> Principal | None:
        """Return the principal of a credential that holds, else None."""
        ...


def read_credential(scope: AsgiScope) -> str | None:
    """Return the credential of `Authorization: Bearer` or else `X-API-Key`; None where neither was sent."""
    bearer: bytes | None = None
    key: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip()
        elif name == b"x-api-key":
            key = value.strip()
    found = bearer if bearer is not None else key
    if found is None:
        return None
    return found.decode("ascii", "replace") if len(found) <= MAX_CREDENTIAL_BYTES else ""
