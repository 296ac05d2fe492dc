"""A tenant's weight reaches the engine, whatever gave it: its plan, or an override."""

from uuid import UUID

import pytest

from fanfold.auth.principal import PrincipalTenant
from fanfold.core.background import Background
from fanfold.fanout.guard import AddressGuard
from fanfold.idempotency.service import KeptAnswers
from fanfold.processing.schemas import ProcessRequest
from fanfold.processing.selection import AddressPolicy
from fanfold.processing.service import ProcessingService
from fanfold.tenants.limits import Limits
from fanfold.tenants.periods import Period


async def weight_of(product, tenant) -> int:
    """The weight with which a request of the tenant is planned, limits as its credential has them."""
    state = product.app.state
    service = ProcessingService(
        fan_out=state.fan_out,
        ledger=state.ledger,
        answers=KeptAnswers(state.database, state.key_ring),
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(AddressGuard(), adhoc_allowed=False),
        background=Background(),
        count_calls=lambda _code, _calls: None,
    )
    told = (await tenant.http.get("/v1/tenant/limits")).json()
    of = PrincipalTenant(
        id=UUID(str(tenant.id)), slug="a", status="active", limits=Limits.of(told, {}), period=Period.MONTH
    )
    plan, _ = await service.plan(of, ProcessRequest(text="字"))
    assert plan.request.owner == str(tenant.id)
    return plan.request.weight


@pytest.mark.parametrize(("plan", "weight"), [("free", 1), ("pro", 4), ("scale", 16)])
async def test_plans_have_theirs(product, plan, weight):
    tenant = await product.tenant(plan)
    await tenant.upstream("https://echo.example/", kind="echo")
    assert await weight_of(product, tenant) == weight


async def test_an_override_wins(product):
    tenant = await product.tenant("scale", weight=1000)
    await tenant.upstream("https://echo.example/", kind="echo")
    assert await weight_of(product, tenant) == 1000


@pytest.mark.parametrize("weight", [0, 1001, -1, 1.5, True, "2"])
async def test_a_weight_is_a_whole_number_from_1_to_1000(product, weight):
    operator, tenant = await product.operator(), await product.tenant()
    for path in (f"/v1/admin/tenants/{tenant.id}/limits", "/v1/admin/plans/free"):
        assert (await operator.patch(path, json={"weight": weight})).status_code == 422
