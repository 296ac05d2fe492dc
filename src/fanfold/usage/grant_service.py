"""Granting units beyond the plan's."""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from fanfold.core.errors import Conflict, NotFound
from fanfold.core.identifiers import uuid7
from fanfold.tenants.models import Tenant
from fanfold.tenants.periods import Clock, Period, period_of, utc_now
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import UNITS_MAX
from fanfold.usage.grant_repository import GrantRepository
from fanfold.usage.grant_schemas import GrantCreate, GrantKind
from fanfold.usage.models import Grant

BY_COMMAND_LINE = UUID(int=0)


class GrantService:
    """Grants of one tenant. They count in every process from the ledger's next flush on."""

    def __init__(
        self, tenants: TenantRepository, grants: GrantRepository, tenant_id: UUID, *, now: Clock = utc_now
    ) -> None:
        self._tenants, self._grants, self._tenant_id, self._now = tenants, grants, tenant_id, now

    async def grant(self, wanted: GrantCreate, *, granted_by: UUID) -> Grant:
        """Grant units to the present period or to the prepaid balance; 409 for more than there may be, or is left.

        Below 0 units are taken back: those that were granted, and of prepaid ones those that are not drawn. More would
        be missing from the tenant's next grant.
        """
        tenant = await self._tenant()
        period_start = await self._present_period(tenant) if wanted.kind is GrantKind.PERIOD else None
        # The ledger adds grants up in 64 bits: a sum that does not fit would stop the tenant's every request.
        total = await self._grants.sum(period_start)
        if total + wanted.units > UNITS_MAX:
            raise Conflict(f"All grants together may be at most {UNITS_MAX} units.")
        left = max(total - (await self._grants.drawn() if period_start is None else 0), 0)
        if -wanted.units > left:
            raise Conflict(f"At most {left} units can be taken back: no more were granted and are not drawn.")
        grant = Grant(
            tenant_id=tenant.id,
            id=uuid7(),
            kind=wanted.kind,
            period_start=period_start,
            units=wanted.units,
            reason=wanted.reason,
            granted_by=granted_by,
        )
        return await self._grants.add(grant)

    async def get(self, grant_id: UUID) -> Grant:
        """Return the grant, or a 404."""
        grant = await self._grants.find(grant_id)
        if grant is None:
            raise NotFound("There is no such grant.")
        return grant

    async def list(self, *, limit: int, cursor: str | None) -> tuple[Sequence[Grant], str | None]:
        """Return a page of grants, newest first; a 404 where there is no such tenant."""
        await self._tenant()
        return await self._grants.list(limit=limit, cursor=cursor)

    async def _tenant(self) -> Tenant:
        tenant = await self._tenants.find(self._tenant_id)
        if tenant is None:
            raise NotFound("There is no such tenant.")
        return tenant

    async def _present_period(self, tenant: Tenant) -> date:
        plan = (await self._tenants.plans())[tenant.plan]
        return period_of(self._now(), Period(plan.period))
