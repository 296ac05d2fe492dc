"""`/v1/admin/plans`: named sets of limits."""

from typing import Annotated

from fastapi import Depends, Path, Response

from fanfold.admin.plan_service import PlanService
from fanfold.admin.reasons import Why
from fanfold.auth.dependencies import CurrentActor, OperatorDbSession, OperatorOnce
from fanfold.core.routing import Router
from fanfold.core.schemas import Page, Slug, problem_responses
from fanfold.idempotency.route import IdempotentRoute
from fanfold.tenants.schemas import PlanCreate, PlanRead, PlanUpdate

router = Router(
    prefix="/v1/admin/plans",
    tags=["Operators"],
    route_class=IdempotentRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)

PlanCode = Annotated[Slug, Path(description="The plan's code.")]


async def _service(session: OperatorDbSession, actor: CurrentActor) -> PlanService:
    return PlanService(session, actor)


PlanServiceDep = Annotated[PlanService, Depends(_service)]


@router.get("")
async def list_plans(plans: PlanServiceDep) -> Page[PlanRead]:
    """List all plans, the one with the fewest units first."""
    return Page(data=[PlanRead.model_validate(plan) for plan in await plans.list()])


@router.post("", status_code=201, responses=problem_responses(400, 409, 413, 415))
async def create_plan(
    wanted: PlanCreate, plans: PlanServiceDep, response: Response, _once: OperatorOnce
) -> PlanRead:
    """Make a plan."""
    plan = PlanRead.model_validate(await plans.create(wanted))
    response.headers["Location"] = f"/v1/admin/plans/{plan.code}"
    return plan


@router.get("/{plan_code}", responses=problem_responses(404))
async def get_plan(plan_code: PlanCode, plans: PlanServiceDep) -> PlanRead:
    """Show one plan."""
    return PlanRead.model_validate(await plans.get(plan_code))


@router.patch("/{plan_code}", responses=problem_responses(400, 404, 413, 415))
async def update_plan(
    plan_code: PlanCode, wanted: PlanUpdate, plans: PlanServiceDep, reason: Why = None
) -> PlanRead:
    """Change a plan for all its tenants, within 2 s. Another `period` counts from its own first day on."""
    return PlanRead.model_validate(await plans.update(plan_code, wanted, reason=reason))


@router.delete("/{plan_code}", status_code=204, responses=problem_responses(404, 409))
async def delete_plan(plan_code: PlanCode, plans: PlanServiceDep, reason: Why = None) -> None:
    """Delete a plan that no tenant is on; `free` stays."""
    await plans.delete(plan_code, reason=reason)
