"""`/v1/tenant/limits`: on a floor of its own beside the tenant's other things, since it asks `auth` who reads."""

from dataclasses import asdict

from fastapi import Request

from fanfold.auth.buckets import tenant_bucket
from fanfold.auth.dependencies import CurrentTenant
from fanfold.core.requests import StrictRoute
from fanfold.core.routing import Router
from fanfold.core.schemas import problem_responses
from fanfold.limits.schemas import RateLimitRead, TenantLimitsRead
from fanfold.ratelimit.base import RateLimitStore

router = Router(
    prefix="/v1/tenant",
    tags=["Tenant"],
    route_class=StrictRoute,
    responses=problem_responses(401, 403, 422, 429, 503),
)


@router.get("/limits")
async def get_tenant_limits(request: Request, tenant: CurrentTenant) -> TenantLimitsRead:
    """Show the limits that hold for the tenant, and how exactly its rate limit is kept."""
    store: RateLimitStore = request.app.state.rate_limit_store
    exactness = store.exactness(tenant_bucket(tenant))
    return TenantLimitsRead(
        **asdict(tenant.limits), period=tenant.period, rate_limit=RateLimitRead.model_validate(exactness)
    )
