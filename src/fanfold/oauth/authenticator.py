"""Access tokens as credentials: signature, then the sign-in that they rest on, as it is now."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import text

from fanfold.auth.principal import ROLE_SCOPES, Principal, PrincipalKind, PrincipalTenant, Role, Scope
from fanfold.core.cache import FreshCache
from fanfold.core.db import Database
from fanfold.core.lazily import imported, on_call
from fanfold.core.signing_key import TokenInvalid
from fanfold.core.values import value
from fanfold.oauth.signing_keys import SigningKeys

# As with API keys: with the load itself, a change holds everywhere within two seconds.
PRINCIPAL_TTL_S = 1.0
MAX_PRINCIPALS = 10_000
MAX_LOOK_UPS = 4

_JWT = "fanfold.core.jwt"
decode: Callable[..., dict[str, Any]] = on_call(_JWT, "decode")
key_id: Callable[[str], str] = on_call(_JWT, "key_id")

_AUTHENTICATE = text(
    "select user_id, client_id, role, is_operator, tenant_id, tenant_slug, tenant_status, scopes, limits"
    " from fanfold.authenticate_session(:session_id)"
)


@value
class _Judged:
    principal: Principal
    expires_at: float


class TokenAuthenticator:
    """Judges access tokens of people and of OAuth clients. What nobody has signed reaches no query but the ring's.

    `now` returns seconds since 1970.
    """

    def __init__(
        self, database: Database, keys: SigningKeys, *, issuer: str, now: Callable[[], float] = time.time
    ) -> None:
        self._database, self._keys, self._issuer, self._now = database, keys, issuer, now
        self._may_look_up = asyncio.Semaphore(MAX_LOOK_UPS)
        self._judged: FreshCache[bytes, _Judged] = FreshCache(
            ttl_s=PRINCIPAL_TTL_S, max_entries=MAX_PRINCIPALS, keeps_none=False
        )

    async def authenticate(self, credential: str) -> Principal | None:
        """Return the principal of a token that is ours, not expired, and whose sign-in has not ended."""
        await imported(_JWT)
        try:
            kid = key_id(credential)
        except TokenInvalid:
            return None
        digest = hashlib.sha256(credential.encode()).digest()
        judged = await self._judged.get(digest, lambda: self._judge(credential, kid))
        if judged is None or judged.expires_at <= self._now():
            return None
        return judged.principal

    def forget(self, credential: str) -> None:
        """Judge this token anew: its sign-in was just ended by this process."""
        self._judged.forget(hashlib.sha256(credential.encode()).digest())

    async def claims(self, credential: str) -> dict[str, Any] | None:
        """Return the claims of a token that is ours and not expired, whatever became of its sign-in."""
        await imported(_JWT)
        try:
            key = await self._keys.find(key_id(credential))
            return decode(credential, key, issuer=self._issuer) if key else None
        except TokenInvalid:
            return None

    async def _judge(self, credential: str, kid: str) -> _Judged | None:
        key = await self._keys.find(kid)
        if key is None:
            return None
        try:
            claims = decode(credential, key, issuer=self._issuer)
            session_id = UUID(claims["sid"])
        except (TokenInvalid, KeyError, ValueError, AttributeError, TypeError):
            return None
        async with self._may_look_up, self._database.begin() as connection:
            found = await connection.execute(_AUTHENTICATE, {"session_id": session_id})
            row = found.mappings().first()
        principal = _principal(row, claims, session_id) if row else None
        return _Judged(principal, claims["exp"]) if principal else None


def _principal(row: Any, claims: dict[str, Any], session_id: UUID) -> Principal | None:
    holder = row["user_id"] or row["client_id"]
    tenant_id = str(row["tenant_id"]) if row["tenant_id"] else None
    if claims["sub"] != str(holder) or claims.get("tid") != tenant_id:
        return None
    granted = set(str(claims.get("scope", "")).split())
    return Principal(
        kind=PrincipalKind.CLIENT if row["client_id"] else PrincipalKind.USER,
        id=holder,
        scopes=frozenset(scope for scope in allowed_scopes(row) if scope in granted),
        tenant=PrincipalTenant.of(row) if tenant_id else None,
        session_id=session_id,
        role=Role(row["role"]) if row["role"] else None,
    )


def allowed_scopes(row: Mapping[str, Any]) -> frozenset[Scope]:
    """Return what whoever signed in may do at most, as the database has it now: a row of `authenticate_session`."""
    asked = frozenset(map(Scope, row["scopes"])) if row["scopes"] is not None else frozenset(Scope)
    if row["client_id"]:
        return asked - {Scope.OPERATOR}
    if row["tenant_id"] is None:
        return asked & {Scope.OPERATOR} if row["is_operator"] else frozenset()
    return asked & ROLE_SCOPES[Role(row["role"])]
