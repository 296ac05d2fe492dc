"""A tenant's upstreams as the engine's values, fresh to the second, without holding a database connection."""

from dataclasses import dataclass
from uuid import UUID

from fanfold.core.cache import FreshCache
from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.fanout.types import Upstream
from fanfold.upstreams.address import normalise
from fanfold.upstreams.mapping import bound_to, engine_upstream
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository

UPSTREAMS_TTL_S = 1.0
MAX_TENANTS = 5_000


@dataclass(frozen=True, slots=True)
class TenantUpstreams:
    """The enabled upstreams of one tenant, the oldest first, and the default among them."""

    enabled: tuple[Upstream, ...]
    default: Upstream | None

    def find(self, slug: str) -> Upstream | None:
        """Return the enabled upstream of that slug."""
        return next((upstream for upstream in self.enabled if upstream.slug == slug), None)

    def find_url(self, url: str) -> Upstream | None:
        """Return the oldest enabled upstream of that normalised address."""
        wanted = normalise(url)
        return next((upstream for upstream in self.enabled if normalise(upstream.url) == wanted), None)


class UpstreamDirectory:
    """Looks upstreams up at most once a second for each tenant."""

    def __init__(self, database: Database, key_ring: KeyRing) -> None:
        self._database, self._key_ring = database, key_ring
        self._tenants: FreshCache[UUID, TenantUpstreams] = FreshCache(
            ttl_s=UPSTREAMS_TTL_S, max_entries=MAX_TENANTS
        )

    async def of(self, tenant_id: UUID) -> TenantUpstreams:
        """Return the tenant's upstreams as they were at most a second ago."""

        async def load() -> TenantUpstreams:
            async with self._database.session(tenant_id) as session, session.begin():
                rows = await UpstreamRepository(session, tenant_id).all()
            enabled = tuple((self._open(row), row.is_default) for row in rows if row.enabled)
            default = next((upstream for upstream, is_default in enabled if is_default), None)
            return TenantUpstreams(tuple(upstream for upstream, _ in enabled), default)

        return await self._tenants.get(tenant_id, load) or TenantUpstreams((), None)

    def forget(self, tenant_id: UUID) -> None:
        """Let this process see the tenant's own change at once."""
        self._tenants.forget(tenant_id)

    def _open(self, row: UpstreamRecord) -> Upstream:
        sealed = row.credential_sealed
        credential = self._key_ring.unseal(sealed, bound_to=bound_to(row)) if sealed else None
        return engine_upstream(row, credential)
