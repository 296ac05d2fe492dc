"""Tokens that travel by mail, and prove that whoever shows one reads that mailbox. None is stored."""

import hmac
from collections.abc import Callable
from typing import Any

from pydantic import SecretStr

from fanfold.core.crypto import KeyRing
from fanfold.core.lazily import imported, on_call
from fanfold.users.models import User

PURPOSE = "mailed-token"

_SIGNED = "fanfold.users.signed_claims"
generate_jwt: Callable[[dict[str, Any], SecretStr, int], str] = on_call(_SIGNED, "generate_jwt")
verified: Callable[[str, SecretStr, str], dict[str, Any] | None] = on_call(_SIGNED, "verified")


class MailedTokens:
    """Signs and reads them with fastapi-users' own functions, a key of their own and an audience for each use."""

    def __init__(self, key_ring: KeyRing) -> None:
        self._secrets: list[SecretStr] = key_ring.derived(PURPOSE)
        self._key_ring = key_ring

    async def make(self, audience: str, *, lifetime_s: int, **claims: Any) -> SecretStr:
        """Return a token with these claims, for one use. Raises ValueError where it would never be over."""
        if lifetime_s < 1:  # fastapi-users' function takes 0 for a token without an end
            raise ValueError("a mailed token lives for a second or more")
        await imported(_SIGNED)
        return SecretStr(generate_jwt({**claims, "aud": audience}, self._secrets[0], lifetime_s))

    async def read(self, audience: str, token: str) -> dict[str, Any] | None:
        """Return the claims of a token that was made for `audience` and is not over; None of any other."""
        await imported(_SIGNED)
        for secret in self._secrets:
            claims = verified(token, secret, audience)
            if claims is not None:
                return claims if "exp" in claims else None
        return None

    def fingerprint(self, user: User) -> str:
        """Return what tells that neither address nor password changed since; nothing of them can be learnt of it."""
        return self._key_ring.digest(_print(user)).hex()

    def is_fingerprint(self, fingerprint: object, user: User) -> bool:
        """Whether nothing changed since `fingerprint` was made, under any key of the ring."""
        digests = self._key_ring.digests(_print(user))
        return any(hmac.compare_digest(str(fingerprint), digest.hex()) for digest in digests)


def _print(user: User) -> str:
    # The moment too: an address, unlike a hash, may be what it was before.
    since = user.credentials_changed_at.timestamp()
    return f"credentials of {user.id} since {since}: {user.hashed_password}"
