"""Quotas as clients meet them: 402 and what it says, warnings, plans that change in mid-period."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from fanfold.tenants.periods import Period, period_end, period_of, utc_now
from tests.fixtures.app import Product, TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase, connect
from tests.usage.books import Books

PATIENCE_S = 60


@pytest.fixture
async def own_product(own_database: TestDatabase) -> AsyncIterator[Product]:
    """An application on a database whose plans may be changed, and whose outbox holds nothing of other tests."""
    async with running_product(own_database, product_settings(own_database)) as product:
        yield product


async def ask(tenant: TenantClient, units: int, **options: Any) -> httpx.Response:
    """Send a text of as many chunks, at one unit each."""
    body = {"text": "字" * units, "split": {"size": 1}, **options}
    return await tenant.http.post("/v1/process", json=body)


async def spend(tenant: TenantClient, units: int) -> httpx.Response:
    answer = await ask(tenant, units)
    assert answer.status_code == 200, answer.text
    return answer


async def with_echo(product: Product, **limits: Any) -> TenantClient:
    tenant = await product.tenant(**limits)
    await tenant.upstream("https://echo.example", kind="echo")
    return tenant


def refusal(answer: httpx.Response) -> tuple[int, int, int]:
    problem = answer.json()
    return answer.status_code, problem["needed"], problem["remaining"]


class TestRefusals:
    async def test_say_what_is_needed_what_is_left_and_when_the_next_period_begins(self, product: Product):
        tenant = await with_echo(product, monthly_units=5)
        await spend(tenant, 3)
        answer = await ask(tenant, 4)
        assert refusal(answer) == (402, 4, 2)
        problem = answer.json()
        ends = dt.datetime.fromisoformat(problem["period_ends_at"])
        assert ends == period_end(period_of(utc_now()))
        assert (problem["code"], "retry-after" in answer.headers) == ("quota-exhausted", False)
        assert "4 units, and 2 are left in this period" in problem["detail"]
        assert (await spend(tenant, 2)).json()["usage"]["quota_remaining"] == 0

    async def test_of_a_key_s_budget_say_what_is_left_of_that(self, product: Product):
        tenant = await with_echo(product, monthly_units=100)
        child = await product.keyed(tenant, budget_units=5)
        await spend(child, 3)
        answer = await ask(child, 3)
        assert refusal(answer) == (402, 3, 2)
        assert "of the API key's budget" in answer.json()["detail"]
        await spend(tenant, 3)
        await spend(child, 2)
        usage = (await tenant.http.get("/v1/usage?group_by=api_key")).json()
        (budget,) = [line["budget"] for line in usage["data"] if line["budget"]]
        assert budget == {"granted": 5, "reserved": 0, "used": 5, "remaining": 0, "warning": 100}

    async def test_an_unused_key_s_budget_is_shown_too(self, product: Product):
        tenant = await product.tenant()
        await product.keyed(tenant, budget_units=5)
        usage = (await tenant.http.get("/v1/usage?group_by=api_key")).json()
        (line,) = usage["data"]
        assert (line["units"], line["budget"]["remaining"], line["budget"]["warning"]) == (0, 5, None)
        assert (await tenant.usage())["data"] == []

    async def test_prepaid_units_are_left_too(self, product: Product):
        tenant, operator = await with_echo(product, monthly_units=5), await product.operator()
        grant = {"units": 10, "kind": "prepaid", "reason": "bought"}
        await operator.post(f"/v1/admin/tenants/{tenant.id}/grants", json=grant)
        await spend(tenant, 7)
        assert refusal(await ask(tenant, 9)) == (402, 9, 8)
        await spend(tenant, 8)
        assert refusal(await ask(tenant, 1)) == (402, 1, 0)

    @pytest.mark.parametrize("period", [Period.DAY, Period.WEEK])
    async def test_periods_are_the_plan_s(self, own_product: Product, period: Period):
        superuser = await connect(own_product.database.superuser_url)
        await superuser.execute("update fanfold.plans set period = $1 where code = 'pro'", period.value)
        await superuser.close()
        tenant = await with_echo(own_product, monthly_units=1)
        answer = await ask(tenant, 2)
        ends = dt.datetime.fromisoformat(answer.json()["period_ends_at"])
        assert refusal(answer) == (402, 2, 1)
        assert ends == period_end(period_of(utc_now(), period), period)


async def levels(tenant: TenantClient, *units: int) -> list[str | None]:
    """Spend these units one after the other; return what each answer warns of."""
    return [(await spend(tenant, each)).headers.get("quota-warning") for each in units]


async def told(product: Product, count: int) -> dict[int, int]:
    """Return what the outbox told once it is empty, and told as much as `count` or more."""
    warnings = product.app.state.quota_warnings
    async with asyncio.timeout(PATIENCE_S), Books(product.database).superuser() as superuser:
        while (
            await superuser.fetchval("select count(*) from fanfold.outbox")
            or sum(warnings.told.values()) < count
        ):
            await asyncio.sleep(0.05)
    found: dict[int, int] = dict(warnings.told)
    return found


class TestWarnings:
    async def test_of_the_quota_at_80_and_100_percent_once_each(self, own_product: Product):
        tenant = await with_echo(own_product, monthly_units=100)
        assert await levels(tenant, 79, 1, 19, 1) == [
            None, '"quota";p=80', '"quota";p=80', '"quota";p=100'
        ]  # fmt: skip
        assert (await tenant.usage())["warning"] == 100
        assert await told(own_product, 2) == {80: 1, 100: 1}

    async def test_again_once_the_limit_was_raised(self, own_product: Product):
        tenant, operator = await with_echo(own_product, monthly_units=10), await own_product.operator()
        assert await levels(tenant, 8, 1, 1) == ['"quota";p=80', '"quota";p=80', '"quota";p=100']
        grant = {"units": 10, "reason": "one more"}
        await operator.post(f"/v1/admin/tenants/{tenant.id}/grants", json=grant)
        assert (await tenant.usage())["warning"] is None
        assert await levels(tenant, 5, 1, 4) == [None, '"quota";p=80', '"quota";p=100']
        assert await told(own_product, 4) == {80: 2, 100: 2}

    async def test_of_a_budget_beside_the_quota_s(self, own_product: Product):
        tenant = await with_echo(own_product, monthly_units=20)
        child = await own_product.keyed(tenant, budget_units=10)
        assert await levels(child, 7, 1, 1, 1) == [
            None, '"budget";p=80', '"budget";p=80', '"budget";p=100'
        ]  # fmt: skip
        assert await levels(tenant, 6) == ['"quota";p=80']
        assert await told(own_product, 3) == {80: 2, 100: 1}
        both = await own_product.keyed(tenant, budget_units=1)
        assert await levels(both, 1) == ['"quota";p=80, "budget";p=100']


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; a change does so everywhere within 2 s."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.1)


class TestPlansInMidPeriod:
    async def change(self, product: Product, tenant: TenantClient, **changes: Any) -> None:
        operator = await product.operator()
        answer = await operator.patch(f"/v1/admin/tenants/{tenant.id}", json=changes)
        assert answer.status_code == 200, answer.text

    async def test_a_smaller_one_keeps_what_was_used_and_settles_what_runs(self, product: Product):
        tenant = await product.tenant("pro")
        await tenant.upstream(product.zoo.url("held"), slug="slow", units_per_call=300)
        await tenant.upstream("https://echo.example", kind="echo", slug="dear", units_per_call=900)
        await tenant.process("x", upstreams=["dear"])
        running = asyncio.create_task(tenant.process("x", upstreams=["slow"]))
        await until(lambda: self._holds(tenant, 300))
        await self.change(product, tenant, plan="free")
        refused = await tenant.http.post("/v1/process", json={"text": "x", "upstreams": ["dear"]})
        assert refusal(refused) == (402, 900, 0)
        product.zoo.lets_go.set()
        assert (await running)["usage"]["units"] == 300
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["reserved"], usage["remaining"]) == (
            1_000,
            1_200,
            0,
            0,
        )
        await Books(product.database).check_truths(tenant.id)

    async def test_a_larger_one_counts_at_once(self, product: Product):
        tenant = await product.tenant("free")
        await tenant.upstream("https://echo.example", kind="echo", units_per_call=1_001)
        assert (await tenant.http.post("/v1/process", json={"text": "x"})).status_code == 402
        await self.change(product, tenant, plan="pro")
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 98_999

    async def test_between_a_hard_stop_and_overage_and_back(self, product: Product):
        tenant, operator = await with_echo(product, monthly_units=5), await product.operator()
        limits = f"/v1/admin/tenants/{tenant.id}/limits"
        await spend(tenant, 5)
        assert refusal(await ask(tenant, 1)) == (402, 1, 0)
        await operator.patch(limits, json={"overage_allowed": True})
        assert (await spend(tenant, 7)).json()["usage"]["quota_remaining"] is None
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["remaining"]) == (5, 12, None)
        await operator.patch(limits, json={"overage_allowed": None})
        assert refusal(await ask(tenant, 1)) == (402, 1, 0)
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["remaining"]) == (5, 12, 0)
        await operator.patch(limits, json={"monthly_units": 20})
        assert (await spend(tenant, 8)).json()["usage"]["quota_remaining"] == 0
        await Books(product.database).check_truths(tenant.id)

    async def test_its_other_limits_hold_within_two_seconds(self, product: Product):
        tenant = await product.tenant("pro")
        await tenant.upstream("https://echo.example", kind="echo")
        text = {"text": "x" * 200_001, "split": {"size": 100_000}}
        assert (await tenant.http.post("/v1/process", json=text)).status_code == 200
        await self.change(product, tenant, plan="free")
        await asyncio.sleep(2)
        assert (await tenant.http.post("/v1/process", json=text)).status_code == 413

    async def _holds(self, tenant: TenantClient, units: int) -> bool:
        usage = await tenant.usage()
        reserved: int = usage["reserved"]
        return reserved == units
