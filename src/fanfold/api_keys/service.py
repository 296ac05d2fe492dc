"""Issuing, changing and revoking API keys."""

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from fanfold.api_keys.keys import IssuedKey, issue
from fanfold.api_keys.models import ApiKey
from fanfold.api_keys.repository import ApiKeyRepository
from fanfold.api_keys.schemas import ApiKeyCreate, ApiKeyUpdate
from fanfold.audit.changes import difference, members_of
from fanfold.audit.types import COMMAND_LINE, Actor
from fanfold.auth.principal import Principal, PrincipalKind
from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, NotFound, ScopeExceedsGrantor, ValidationFailed
from fanfold.core.identifiers import uuid7

_RECORDED = (
    "name", "scopes", "requests_per_minute", "burst", "max_concurrent_requests", "budget_units", "expires_at",
    "revoked_at",
)  # fmt: skip
_NO_KEY = "There is no such API key."
_LIMITS = frozenset({"requests_per_minute", "burst", "max_concurrent_requests", "budget_units"})


class ApiKeyService:
    """The keys of one tenant. `grantor` is who asks: a key's scopes are never wider than its maker's.

    Every change is in the audit log, as `actor`'s.
    """

    def __init__(self, keys: ApiKeyRepository, key_ring: KeyRing, *, actor: Actor = COMMAND_LINE) -> None:
        self._keys, self._key_ring, self._actor = keys, key_ring, actor

    async def issue(
        self, tenant_id: UUID, wanted: ApiKeyCreate, *, max_api_keys: int, grantor: Principal | None = None
    ) -> tuple[ApiKey, IssuedKey]:
        """Make a key; without a `grantor` the command line asks, which may grant any scope."""
        _check_scopes(wanted.scopes, grantor)
        await self.check_unlimited(grantor)
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
            created_by=grantor.id if grantor and grantor.kind is PrincipalKind.USER else None,
        )
        await self._keys.add(key)
        await self._keys.record(self._actor, "api_key.created", key.id, after=members_of(key, _RECORDED))
        await self._keys.tell("api_key.created", key.id)
        return key, issued

    async def get(self, key_id: UUID) -> ApiKey:
        """Return the key, or a 404."""
        key = await self._keys.find(key_id)
        if key is None:
            raise NotFound(_NO_KEY)
        return key

    async def update(self, key_id: UUID, wanted: ApiKeyUpdate, *, grantor: Principal) -> ApiKey:
        """Change the members that were sent; takes effect in every process within 2 s."""
        changes: dict[str, Any] = wanted.model_dump(exclude_unset=True)
        _check_scopes(changes.get("scopes", ()), grantor)
        if _LIMITS.intersection(changes):
            await self.check_unlimited(grantor)
        key = await self._live(key_id)
        before = members_of(key, _RECORDED)
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
        await self._record_change("api_key.updated", key, before)
        return key

    async def rotate(
        self, key_id: UUID, *, grace_s: int, grantor: Principal | None = None
    ) -> tuple[ApiKey, IssuedKey]:
        """Give the key a new secret. The one before it holds for `grace_s` seconds more, one before that no longer.

        Whoever asks gets all that the key may do: so it may do no more than they, or be their own.
        """
        if grantor is None or grantor.api_key_id != key_id:
            await self.check_unlimited(grantor)
        key = await self._live(key_id)
        _check_scopes(key.scopes, grantor)
        before = {"public_id": key.public_id}
        issued = issue()
        key.previous_digest = key.digest if grace_s else None
        key.previous_until = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=grace_s) if grace_s else None
        key.public_id, key.digest = issued.public_id, self._key_ring.digest(issued.key.get_secret_value())
        after = {"public_id": key.public_id, "grace_s": grace_s}
        await self._keys.record(self._actor, "api_key.rotated", key.id, before=before, after=after)
        until = key.previous_until.isoformat() if key.previous_until else None
        await self._keys.tell("api_key.rotated", key.id, previous_until=until)
        return key, issued

    async def revoke(self, key_id: UUID) -> None:
        """End the key for good; takes effect in every process within 2 s. Revoking twice is the same as once."""
        key = await self._locked(key_id)
        before = members_of(key, _RECORDED)
        if key.revoked_at is None:
            await self._keys.tell("api_key.revoked", key.id)
        key.revoked_at = key.revoked_at or dt.datetime.now(dt.UTC)
        await self._record_change("api_key.revoked", key, before)

    async def _locked(self, key_id: UUID) -> ApiKey:
        key = await self._keys.lock(key_id)
        if key is None:
            raise NotFound(_NO_KEY)
        return key

    async def _live(self, key_id: UUID) -> ApiKey:
        """Return a key that holds, locked: the place of one that does not may be taken by a new one."""
        key = await self._locked(key_id)
        if key.revoked_at is not None or _has_expired(key):
            raise Conflict("The API key is revoked or has expired. Make a new one.")
        return key

    async def _record_change(self, action: str, key: ApiKey, before: dict[str, Any]) -> None:
        if change := difference(before, members_of(key, _RECORDED)):
            await self._keys.record(self._actor, action, key.id, **change)

    async def check_unlimited(self, grantor: Principal | None) -> None:
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
