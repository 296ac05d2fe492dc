"""What tokens are, and how they end: introspection (RFC 7662) and revocation (RFC 7009)."""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.auth.principal import Principal, Scope
from fanfold.core.crypto import KeyRing
from fanfold.oauth.authenticator import TokenAuthenticator
from fanfold.oauth.models import SignIn
from fanfold.oauth.repository import SignInRepository
from fanfold.oauth.tokens import REFRESH_PREFIX

INACTIVE: dict[str, Any] = {"active": False}
_SHOWN = ("scope", "client_id", "exp", "iat", "sub", "aud", "iss", "jti", "tid")


class TokenService:
    """Judges and ends tokens of either kind, on one identity session."""

    def __init__(self, session: AsyncSession, access: TokenAuthenticator, key_ring: KeyRing) -> None:
        self._sign_ins, self._access, self._key_ring = SignInRepository(session), access, key_ring

    async def revoke(self, token: str) -> None:
        """End the sign-in that a token belongs to; one that is none of ours, or over, is no error."""
        session_id = await self._session_of(token)
        if session_id is not None:
            await self._sign_ins.end(id=session_id)
            self._access.forget(token)

    async def introspect(self, token: str, *, asker: Principal) -> dict[str, Any]:
        """Return what a token is, to its own tenant, its own person and to operators; to others it is not active."""
        is_refresh = token.startswith(REFRESH_PREFIX)
        found = await (self._refresh(token) if is_refresh else self._access_claims(token))
        if found is None:
            return INACTIVE
        sign_in, claims = found
        is_theirs = asker.tenant is not None and asker.tenant.id == sign_in.tenant_id
        is_their_own = asker.id in {sign_in.user_id, sign_in.client_id}
        if not (is_theirs or is_their_own or Scope.OPERATOR in asker.scopes):
            return INACTIVE
        return {"active": True, "token_type": "refresh_token" if is_refresh else "Bearer", **claims}

    async def _access_claims(self, token: str) -> tuple[SignIn, dict[str, Any]] | None:
        principal = await self._access.authenticate(token)
        claims = await self._access.claims(token) if principal else None
        if principal is None or claims is None or principal.session_id is None:
            return None
        sign_in = await self._sign_ins.find(principal.session_id)
        shown = {name: claims[name] for name in _SHOWN if name in claims}
        return (sign_in, {**shown, "scope": " ".join(sorted(principal.scopes))}) if sign_in else None

    async def _refresh(self, token: str) -> tuple[SignIn, dict[str, Any]] | None:
        known = await self._sign_ins.find_token(self._key_ring.digests(token))
        sign_in = await self._sign_ins.find(known.session_id) if known and known.used_at is None else None
        if sign_in is None or await self._sign_ins.rights(sign_in.id) is None:
            return None
        holder = str(sign_in.user_id or sign_in.client_id)
        return sign_in, {"sub": holder, "exp": int(sign_in.expires_at.timestamp())}

    async def _session_of(self, token: str) -> UUID | None:
        if token.startswith(REFRESH_PREFIX):
            known = await self._sign_ins.find_token(self._key_ring.digests(token))
            return known.session_id if known else None
        claims = await self._access.claims(token)
        try:
            return UUID(str(claims["sid"])) if claims else None
        except (KeyError, ValueError):
            return None
