"""Tokens that travel by mail, and prove that whoever shows one reads that mailbox. None is stored."""

from typing import Any

import jwt
from fastapi_users.jwt import decode_jwt, generate_jwt
from pydantic import SecretStr

from fanfold.core.crypto import KeyRing

PURPOSE = "mailed-token"


class MailedTokens:
    """Signs and reads them with fastapi-users' own functions, a key of their own and an audience for each use."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._secrets: list[SecretStr] = key_ring.derived(PURPOSE)

    def make(self, audience: str, *, lifetime_s: int, **claims: Any) -> SecretStr:
        """Return a token with these claims, for one use."""
        return SecretStr(generate_jwt({**claims, "aud": audience}, self._secrets[0], lifetime_s))

    def read(self, audience: str, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that was made for `audience` and is not over; None of any other."""
        for secret in self._secrets:
            try:
                return decode_jwt(token, secret, [audience])
            except (jwt.PyJWTError, ValueError):
                continue
        return None
