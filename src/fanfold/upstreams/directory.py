"""A tenant's upstreams as the engine's values, fresh to the second, without holding a database connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from fanfold.core.cache import FreshCache
from fanfold.core.crypto import KeyRing, SealBroken
from fanfold.core.db import Database
from fanfold.core.telemetry.logging import get_logger
from fanfold.fanout.types import Upstream
from fanfold.upstreams.address import normalise
from fanfold.upstreams.mapping import bound_to, engine_upstream
from fanfold.upstreams.models import UpstreamRecord
from fanfold.upstreams.repository import UpstreamRepository

_log = get_logger(__name__)

UPSTREAMS_TTL_S = 1.0
MAX_TENANTS = 5_000


@dataclass(frozen=True, slots=True)
class TenantUpstreams:
    """The enabled upstreams of one tenant, the oldest first, and the default among them."""

    enabled: tuple[Upstream, ...]
    default: Upstream | None
    by_address: Mapping[str, Upstream] = field(default_factory=dict)

    def find(self, slug: str) -> Upstream | None:
        """Return the enabled upstream of that slug."""
        return next((upstream for upstream in self.enabled if upstream.slug == slug), None)

    def find_url(self, url: str) -> Upstream | None:
        """Return the oldest enabled upstream of that normalised address."""
        return self.by_address.get(normalise(url))


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
            opened = {row.id: self._open(row) for row in rows if row.enabled}
            enabled = tuple(upstream for upstream in opened.values() if upstream is not None)
            default = next((opened.get(row.id) for row in rows if row.is_default), None)
            by_address = {normalise(upstream.url): upstream for upstream in reversed(enabled)}
            return TenantUpstreams(enabled, default, by_address)

        return await self._tenants.get(tenant_id, load) or TenantUpstreams((), None)

    def forget(self, tenant_id: UUID) -> None:
        """Let this process see the tenant's own change at once."""
        self._tenants.forget(tenant_id)

    def _open(self, row: UpstreamRecord) -> Upstream | None:
        """Return the engine's value; None for one whose credential does not open, which must not stop the others."""
        sealed = row.credential_sealed
        try:
            credential = self._key_ring.unseal(sealed, bound_to=bound_to(row)) if sealed else None
        except SealBroken:
            _log.error("A credential does not open.", upstream_id=str(row.id))
            return None
        return engine_upstream(row, credential)
