"""API keys as credentials: checksum, then digest, then at most one look-up a second."""

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from secrets import token_bytes
from typing import Any

from sqlalchemy import text

from fanfold.api_keys.keys import has_form
from fanfold.auth.principal import KeyLimits, Principal, PrincipalKind, PrincipalTenant, Scope
from fanfold.core.cache import FreshCache
from fanfold.core.checksummed import is_intact
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database

# One second from the start of the load: with the load itself, a change holds everywhere within two.
PRINCIPAL_TTL_S = 1.0
MAX_PRINCIPALS = 10_000
MAX_UNKNOWN = 1_000
_FINGERPRINT_BYTES = 32
# Made-up keys cost a query each: they may not have all connections of the pool.
MAX_LOOK_UPS = 4

# Each column by name: what a later migration adds does not change the result of a statement prepared before it.
_AUTHENTICATE = text(
    "select key_id, kind, tenant_id, tenant_slug, tenant_status, scopes, requests_per_minute, burst,"
    " max_concurrent_requests, limits from fanfold.authenticate(:digests)"
)


class KeyAuthenticator:
    """Judges API keys of tenants and of operators.

    `on_use` is told of a key's principal as often as that is looked up: of one in use, each second.
    """

    def __init__(
        self, database: Database, key_ring: KeyRing, *, on_use: Callable[[Principal], None] | None = None
    ) -> None:
        self._database, self._key_ring, self._on_use = database, key_ring, on_use
        self._secret = token_bytes(_FINGERPRINT_BYTES)
        self._may_look_up = asyncio.Semaphore(MAX_LOOK_UPS)
        # Every look-up passes the small cache, which answers for keys that nobody has; only principals reach the large.
        self._look_ups: FreshCache[bytes, Principal] = FreshCache(
            ttl_s=PRINCIPAL_TTL_S, max_entries=MAX_UNKNOWN
        )
        self._principals: FreshCache[bytes, Principal] = FreshCache(
            ttl_s=PRINCIPAL_TTL_S, max_entries=MAX_PRINCIPALS, keeps_none=False
        )

    async def authenticate(self, credential: str) -> Principal | None:
        """Return the principal of a key that is known, not expired and not revoked."""
        # What a key is kept by in this process: its digest for the database takes four times as long.
        given = credential.encode("utf-8", "surrogatepass")
        fingerprint = blake2b(given, digest_size=_FINGERPRINT_BYTES, key=self._secret).digest()
        principal = self._principals.fresh(fingerprint)
        if principal is None and has_form(credential) and is_intact(credential):
            principal = await self._look_up(fingerprint, credential)
        return principal

    async def _look_up(self, fingerprint: bytes, credential: str) -> Principal | None:
        async def load() -> Principal | None:
            digests = self._key_ring.digests(credential)
            async with self._may_look_up, self._database.begin() as connection:
                row = (await connection.execute(_AUTHENTICATE, {"digests": digests})).mappings().first()
            if row is None:
                return None
            principal = _principal(row)
            if self._on_use is not None:
                self._on_use(principal)
            return principal

        return await self._principals.get(fingerprint, lambda: self._look_ups.get(fingerprint, load))


def _principal(row: Any) -> Principal:
    tenant = None
    if row["tenant_id"] is not None:
        tenant = PrincipalTenant.of(row)
    limited = row["requests_per_minute"] is not None
    return Principal(
        kind=PrincipalKind(row["kind"]),
        id=row["key_id"],
        scopes=frozenset(map(Scope, row["scopes"])),
        tenant=tenant,
        key_limits=KeyLimits(requests_per_minute=row["requests_per_minute"], burst=row["burst"])
        if limited
        else None,
        max_concurrent_requests=row["max_concurrent_requests"],
    )
