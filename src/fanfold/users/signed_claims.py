"""fastapi-users' signed tokens, and what it refuses. Imported with the first of them, in a thread."""

from typing import Any

import jwt
from fastapi_users.jwt import decode_jwt, generate_jwt
from pydantic import SecretStr

__all__ = ["generate_jwt", "verified"]


def verified(token: str, secret: SecretStr, audience: str) -> dict[str, Any] | None:
    """Return the claims of a token that `secret` signed for `audience` and that is not over; None of any other."""
    try:
        return decode_jwt(token, secret, [audience])
    except (jwt.PyJWTError, ValueError):
        return None
