"""Issuing, changing and revoking API keys."""

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from fanfold.api_keys.keys import IssuedKey, issue
from fanfold.api_keys.models import ApiKey
from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate, ApiKeyUpdate
from fanfold.auth.principal import Principal
from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, NotFound, ScopeExceedsGrantor, ValidationFailed
from fanfold.core.identifiers import uuid7

_LIMITS = frozenset({"requests_per_minute", "burst", "max_concurrent_requests", "budget_units"})


class ApiKeyService:
    """The keys of one tenant. `grantor` is who asks: a key's scopes are never wider than its maker's."""

    def __init__(self, keys: ApiKeyRepository, key_ring: KeyRing) -> None:
        self._keys, self._key_ring = keys, key_ring

    async def issue(
        self, tenant_id: UUID, wanted: ApiKeyCreate, *, max_api_keys: int, grantor: Principal | None = None
    ) -> tuple[ApiKey, IssuedKey]:
        """Make a key; without a `grantor` the command line asks, which may grant any scope."""
        _check_scopes(wanted.scopes, grantor)
        await self._check_unlimited(grantor)
        if await self._keys.count_live() >= max_api_keys:
            raise Conflict(f"The plan allows {max_api_keys} API keys. Revoke one first.")
        issued = issue()
        key = ApiKey(
            tenant_id=tenant_id,
            id=uuid7(),
            public_id=issued.public_id,
            digest=self._key_ring.digest(issued.key.get_secret_value()),
            name=wanted.name,
            scopes=sorted(set(wanted.scopes)),
            requests_per_minute=wanted.requests_per_minute,
            burst=wanted.burst or wanted.requests_per_minute,
            max_concurrent_requests=wanted.max_concurrent_requests,
            budget_units=wanted.budget_units,
            expires_at=wanted.expires_at,
        )
        return await self._keys.add(key), issued

    async def get(self, key_id: UUID) -> ApiKey:
        """Return the key, or a 404."""
        key = await self._keys.find(key_id)
        if key is None:
            raise NotFound("There is no such API key.")
        return key

    async def update(self, key_id: UUID, wanted: ApiKeyUpdate, *, grantor: Principal) -> ApiKey:
        """Change the members that were sent; takes effect in every process within 2 s."""
        changes: dict[str, Any] = wanted.model_dump(exclude_unset=True)
        _check_scopes(changes.get("scopes", ()), grantor)
        if _LIMITS.intersection(changes):
            await self._check_unlimited(grantor)
        key = await self.get(key_id)
        if key.revoked_at is not None or _has_expired(key):  # its place may be taken by a new one
            raise Conflict("The API key is revoked or has expired. Make a new one.")
        for name, value in changes.items():
            setattr(key, name, value)
        if key.requests_per_minute is None:
            if changes.get("burst") is not None:
                message = "burst needs requests_per_minute"
                errors = [{"loc": ["body", "burst"], "msg": message, "type": "value_error"}]
                raise ValidationFailed(message, errors=errors)
            key.burst = None
        elif key.burst is None:
            key.burst = key.requests_per_minute
        return key

    async def revoke(self, key_id: UUID) -> None:
        """End the key for good; takes effect in every process within 2 s. Revoking twice is the same as once."""
        key = await self.get(key_id)
        key.revoked_at = key.revoked_at or dt.datetime.now(dt.UTC)

    async def _check_unlimited(self, grantor: Principal | None) -> None:
        """Refuse a key that has limits of its own: it could take them off, or make keys without them."""
        own = await self._keys.find(grantor.api_key_id) if grantor and grantor.api_key_id else None
        if own is not None and any(getattr(own, name) is not None for name in _LIMITS):
            raise ScopeExceedsGrantor(
                "A key with limits of its own may neither make keys nor change limits. Use one without."
            )


def _has_expired(key: ApiKey) -> bool:
    return key.expires_at is not None and key.expires_at <= dt.datetime.now(dt.UTC)


def _check_scopes(scopes: Iterable[str], grantor: Principal | None) -> None:
    if grantor is not None and not set(scopes) <= grantor.scopes:
        raise ScopeExceedsGrantor("A key may not have a scope that its maker lacks.")
