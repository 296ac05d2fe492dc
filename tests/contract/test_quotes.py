"""A quote keeps its word: what it says is allowed is no 402 right after, and what it says is not, is one."""

from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.fixtures.app import Product, TenantClient
from tests.usage.books import Books

SMALL = st.integers(0, 12)
WORLDS = {
    "limit": SMALL,
    "overage": st.booleans(),
    "granted": st.integers(-6, 6),
    "prepaid": st.integers(-6, 12),
    "budget": st.none() | SMALL,
    "used": st.lists(SMALL, max_size=3),
    "lowered": st.none() | SMALL,
}
PLAIN: dict[str, Any] = {
    "limit": 5, "overage": False, "granted": 0, "prepaid": 0, "budget": None, "used": [], "lowered": None,
}  # fmt: skip


async def _tenant(product: Product, world: dict[str, Any]) -> TenantClient:
    """Make a tenant in the state that is drawn; what no longer fits is not used."""
    tenant = await product.tenant(monthly_units=world["limit"], overage_allowed=world["overage"])
    await tenant.upstream("https://echo.example", kind="echo")
    operator = await product.operator()
    for kind, units in (("period", world["granted"]), ("prepaid", world["prepaid"])):
        if units > 0:
            grant = {"units": units, "kind": kind, "reason": "drawn"}
            assert (await operator.post(f"/v1/admin/tenants/{tenant.id}/grants", json=grant)).is_success
    child = await product.keyed(tenant, budget_units=world["budget"])
    for units in world["used"]:
        if units:
            await child.http.post("/v1/process", json=_request(units, None))
    if world["lowered"] is not None:
        limits = {"monthly_units": world["lowered"]}
        assert (await operator.patch(f"/v1/admin/tenants/{tenant.id}/limits", json=limits)).is_success
    return child


def _request(units: int, max_units: int | None) -> dict[str, Any]:
    return {"text": "字" * units, "split": {"size": 1}, "max_units": max_units}


@given(world=st.fixed_dictionaries(WORLDS), wanted=st.integers(1, 12), max_units=st.none() | SMALL)
@example(world=PLAIN, wanted=5, max_units=None)
@example(world=PLAIN, wanted=6, max_units=None)
@example(world=PLAIN, wanted=6, max_units=5)
@example(world=PLAIN | {"budget": 2}, wanted=3, max_units=None)
@example(world=PLAIN | {"budget": 2, "overage": True}, wanted=3, max_units=None)
@example(world=PLAIN | {"prepaid": 3, "used": [6]}, wanted=2, max_units=None)
@example(world=PLAIN | {"prepaid": 3, "used": [6]}, wanted=3, max_units=None)
@example(world=PLAIN | {"granted": 2}, wanted=7, max_units=None)
@example(world=PLAIN | {"used": [5], "lowered": 3, "prepaid": 2}, wanted=2, max_units=None)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_allowed_is_no_402_and_not_allowed_is_one(
    product: Product, world: dict[str, Any], wanted: int, max_units: int | None
):
    tenant, body = await _tenant(product, world), _request(wanted, max_units)
    quote = (await tenant.http.post("/v1/process/quote", json=body)).json()
    answer = await tenant.http.post("/v1/process", json=body)
    assert answer.status_code == (200 if quote["allowed"] else 402), (quote, answer.text)
    if not quote["allowed"]:
        assert answer.json()["remaining"] >= quote["quota_remaining"]
    await Books(product.database).check_truths(tenant.id)
