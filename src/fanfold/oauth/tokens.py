"""Access tokens as RFC 9068 writes them, and refresh tokens, which say nothing."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pydantic import SecretStr

from fanfold.auth.principal import Scope
from fanfold.core.lazily import on_call
from fanfold.core.signing_key import SigningKey
from fanfold.oauth.errors import InvalidScope
from fanfold.oauth.models import SignIn
from fanfold.oauth.signing_keys import SigningKeys
from fanfold.oauth.types import Issued

FIRST_PARTY = "fanfold"
REFRESH_PREFIX = "ff_refresh_"

# Imported with the key to sign with.
encode: Callable[[Mapping[str, Any], SigningKey], str] = on_call("fanfold.core.jwt", "encode")


class AccessTokens:
    """Mints access tokens of `minutes`, for ourselves."""

    def __init__(self, keys: SigningKeys, *, issuer: str, minutes: int) -> None:
        self._keys, self.issuer, self.lifetime_s = keys, issuer, minutes * 60

    async def key(self) -> SigningKey:
        """Return the key to sign with; asked for before a session's first statement, for it may have to be loaded."""
        return await self._keys.signing()

    def issue(
        self,
        sign_in: SignIn,
        scopes: Iterable[Scope],
        key: SigningKey,
        *,
        refresh_token: SecretStr | None = None,
    ) -> Issued:
        """Return an access token of this sign-in, which it does not outlive, with what goes with it."""
        now = int(datetime.now(UTC).timestamp())
        lifetime_s = min(self.lifetime_s, int(sign_in.expires_at.timestamp()) - now)
        scope = " ".join(sorted(scopes))
        return Issued(
            access_token=self._mint(sign_in, scope, key, now=now, ends=now + lifetime_s),
            expires_in=lifetime_s,
            scope=scope,
            refresh_token=refresh_token,
        )

    def _mint(self, sign_in: SignIn, scope: str, key: SigningKey, *, now: int, ends: int) -> SecretStr:
        """Return the token; `sid` names what ends it, `tid` its tenant."""
        claims = {
            "iss": self.issuer,
            "aud": self.issuer,
            "iat": now,
            "exp": ends,
            "jti": uuid4().hex,
            "sub": str(sign_in.user_id or sign_in.client_id),
            "client_id": str(sign_in.client_id or FIRST_PARTY),
            "sid": str(sign_in.id),
            "scope": scope,
        }
        if sign_in.tenant_id is not None:
            claims["tid"] = str(sign_in.tenant_id)
        return SecretStr(encode(claims, key))


def new_refresh_token() -> SecretStr:
    """Return a refresh token that nobody can guess (256 bits)."""
    return SecretStr(REFRESH_PREFIX + secrets.token_urlsafe(32))


def scopes_of(scope: str) -> frozenset[Scope]:
    """Return the scopes of a space-separated list; raises `InvalidScope`."""
    known = {each.value for each in Scope}
    asked = set(scope.split())
    if not asked <= known:
        raise InvalidScope(f"Known scopes: {' '.join(sorted(known))}.")
    return frozenset(map(Scope, asked))
