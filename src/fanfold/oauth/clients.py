"""Machine clients of a tenant: made, changed, given new secrets, revoked."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.api_keys.service import ApiKeyService
from fanfold.audit import writer as audit
from fanfold.audit.types import Actor
from fanfold.auth.principal import Principal, PrincipalKind
from fanfold.core.checksummed import CHECKSUM_LENGTH, SECRET_LENGTH, is_intact, random_text, with_checksum
from fanfold.core.crypto import KeyRing
from fanfold.core.errors import Conflict, NotFound, ScopeExceedsGrantor
from fanfold.core.identifiers import uuid7
from fanfold.core.repository import page
from fanfold.oauth.client_schemas import ClientCreate, ClientUpdate
from fanfold.oauth.models import OAuthClient

_SECRET = re.compile(rf"ff_client_[0-9A-Za-z]{{{SECRET_LENGTH}}}_[0-9A-Za-z]{{{CHECKSUM_LENGTH}}}")
_LOCK = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")


def new_secret() -> SecretStr:
    """Return a client's secret that nobody can guess."""
    return SecretStr(with_checksum(f"ff_client_{random_text(SECRET_LENGTH)}"))


def is_well_formed(secret: str) -> bool:
    """Whether this has the form and the checksum of a client's secret."""
    return _SECRET.fullmatch(secret) is not None and is_intact(secret)


class ClientRepository:
    """Clients of one tenant; row-level security stands under every statement."""

    def __init__(self, session: AsyncSession, tenant_id: UUID) -> None:
        self.session, self.tenant_id = session, tenant_id
        self._mine = select(OAuthClient).where(OAuthClient.tenant_id == tenant_id)

    async def find(self, client_id: UUID, *, for_change: bool = False) -> OAuthClient | None:
        """Return the client, or None; `for_change` locks it until the transaction ends."""
        found = self._mine.where(OAuthClient.id == client_id)
        return await self.session.scalar(found.with_for_update() if for_change else found)

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[OAuthClient], str | None]:
        """Return a page of clients, the newest first."""
        return await page(self.session, self._mine, by=OAuthClient.id, limit=limit, cursor=cursor)

    async def count_live(self) -> int:
        """Count the clients that hold, and keep others from adding one until this transaction ends."""
        await self.session.execute(_LOCK, {"name": f"oauth_clients:{self.tenant_id}"})
        live = select(func.count()).where(
            OAuthClient.tenant_id == self.tenant_id, OAuthClient.revoked_at.is_(None)
        )
        return await self.session.scalar(live) or 0

    async def refreshed(self, client: OAuthClient) -> OAuthClient:
        """Write what changed and read the row as it now is."""
        self.session.add(client)
        await self.session.flush()
        await self.session.refresh(client)
        return client


class ClientService:
    """The clients of one tenant. They outlive the person who made them; `grantor` is who asks."""

    def __init__(
        self, clients: ClientRepository, keys: ApiKeyService, key_ring: KeyRing, *, actor: Actor
    ) -> None:
        self._clients, self._keys, self._key_ring, self._actor = clients, keys, key_ring, actor

    async def create(
        self, wanted: ClientCreate, *, most: int, grantor: Principal
    ) -> tuple[OAuthClient, SecretStr]:
        """Make a client; 403 for scopes beyond the grantor's, 409 where the plan allows no more."""
        await self._check_grant(wanted.scopes, grantor)
        if await self._clients.count_live() >= most:
            raise Conflict(f"The plan allows {most} clients. Revoke one first.")
        secret = new_secret()
        client = OAuthClient(
            tenant_id=self._clients.tenant_id,
            id=uuid7(),
            name=wanted.name,
            digest=self._key_ring.digest(secret.get_secret_value()),
            scopes=sorted(set(wanted.scopes)),
            created_by=grantor.id if grantor.kind is PrincipalKind.USER else None,
        )
        made = await self._clients.refreshed(client)
        await self._record("client.created", made, after=_shown(made))
        return made, secret

    async def get(self, client_id: UUID, *, for_change: bool = False) -> OAuthClient:
        """Return the client, or a 404."""
        client = await self._clients.find(client_id, for_change=for_change)
        if client is None:
            raise NotFound("There is no such client.")
        return client

    async def update(self, client_id: UUID, wanted: ClientUpdate, *, grantor: Principal) -> OAuthClient:
        """Change name or scopes; holds for its tokens too within 2 s."""
        client = await self._live(client_id)
        await self._check_grant(wanted.scopes, grantor)
        before = _shown(client)
        for name, value in wanted.model_dump(exclude_unset=True).items():
            setattr(client, name, sorted(set(value)) if name == "scopes" else value)
        changed = await self._clients.refreshed(client)
        await self._record("client.updated", changed, before=before, after=_shown(changed))
        return changed

    async def rotate(self, client_id: UUID, *, grantor: Principal) -> tuple[OAuthClient, SecretStr]:
        """Give the client a new secret; the one before it ends at once, tokens it was given run out."""
        client = await self._live(client_id)
        await self._check_grant(client.scopes, grantor)
        secret = new_secret()
        client.digest = self._key_ring.digest(secret.get_secret_value())
        rotated = await self._clients.refreshed(client)
        await self._record("client.rotated", rotated)
        return rotated, secret

    async def revoke(self, client_id: UUID) -> None:
        """End the client and its tokens, everywhere within 2 s. Twice is the same as once."""
        client = await self.get(client_id, for_change=True)
        if client.revoked_at is None:
            client.revoked_at = dt.datetime.now(dt.UTC)
            await self._record("client.revoked", client, before=_shown(client))

    async def _live(self, client_id: UUID) -> OAuthClient:
        client = await self.get(client_id, for_change=True)
        if client.revoked_at is not None:
            raise Conflict("The client is revoked. Make a new one.")
        return client

    async def _check_grant(self, scopes: Iterable[str], grantor: Principal) -> None:
        await self._keys.check_unlimited(grantor)
        if not set(scopes) <= grantor.scopes:
            raise ScopeExceedsGrantor("A client may not have a scope that its maker lacks.")

    async def _record(
        self,
        action: str,
        client: OAuthClient,
        *,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        await audit.record(
            self._clients.session,
            self._actor,
            tenant_id=client.tenant_id,
            action=action,
            object_kind="client",
            object_id=client.id,
            before=before,
            after=after,
        )


def _shown(client: OAuthClient) -> dict[str, Any]:
    return {"name": client.name, "scopes": client.scopes}
