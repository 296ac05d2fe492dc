"""What operators do with plans: each change with its line in the audit log, in the same transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fanfold.audit import writer as audit
from fanfold.audit.changes import difference, members_of
from fanfold.audit.types import Actor
from fanfold.core.errors import Conflict, NotFound
from fanfold.tenants.models import Plan
from fanfold.tenants.repository import TenantRepository
from fanfold.tenants.schemas import PlanCreate, PlanUpdate

# Whoever founds a tenant without an operator is put on it.
FOUNDERS = "free"
_MEMBERS = tuple(PlanUpdate.model_fields)


class PlanService:
    """Makes, changes and deletes plans as `actor`, on an operator's session. Changes hold everywhere within 2 s."""

    def __init__(self, session: AsyncSession, actor: Actor) -> None:
        self._session, self._actor, self._plans = session, actor, TenantRepository(session)

    async def list(self) -> Sequence[Plan]:
        """Return every plan, the one with the fewest units first."""
        plans = (await self._plans.plans()).values()
        return sorted(plans, key=lambda plan: (plan.monthly_units, plan.code))

    async def get(self, code: str) -> Plan:
        """Return the plan, or a 404."""
        return _found(await self._plans.find_plan(code))

    async def create(self, wanted: PlanCreate) -> Plan:
        """Make a plan; a 409 where its code is taken."""
        plan = Plan(**wanted.model_dump())
        try:
            await self._plans.add_plan(plan)
        except IntegrityError:
            raise Conflict("A plan with this code exists already.") from None
        await self._record("plan.created", plan.code, after=members_of(plan, _MEMBERS))
        return plan

    async def update(self, code: str, wanted: PlanUpdate, *, reason: str | None) -> Plan:
        """Change the members that were sent, for all tenants on the plan."""
        plan = _found(await self._plans.lock_plan(code))
        before = members_of(plan, _MEMBERS)
        for name, value in wanted.model_dump(exclude_unset=True).items():
            setattr(plan, name, value)
        if change := difference(before, members_of(plan, _MEMBERS)):
            await self._record("plan.updated", code, **change, reason=reason)
        return plan

    async def delete(self, code: str, *, reason: str | None) -> None:
        """Delete a plan; a 409 while a tenant is on it, also one that is deleted or erased."""
        plan = _found(await self._plans.lock_plan(code))
        if code == FOUNDERS:
            raise Conflict("This plan stays: tenants that are founded without an operator are put on it.")
        before = members_of(plan, _MEMBERS)
        try:
            await self._plans.delete_plan(plan)
        except IntegrityError:
            raise Conflict(
                "Tenants are on this plan. List them with GET /v1/admin/tenants?plan=... and move them to another one."
            ) from None
        await self._record("plan.deleted", code, before=before, reason=reason)

    async def _record(self, action: str, code: str, **change: Any) -> None:
        await audit.record(
            self._session, self._actor, action=action, object_kind="plan", object_id=code, **change
        )


def _found(plan: Plan | None) -> Plan:
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan
