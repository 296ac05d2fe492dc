"""`/v1/admin/plans` over HTTP."""

import asyncio

import pytest

from tests.fixtures.plans import EXAMPLE, new_plan

PLANS = "/v1/admin/plans"
# A principal is true for a second from the start of its load.
FORGOTTEN_S = 1.1


async def make(operator, **members):
    body = new_plan(**members)
    answer = await operator.post(PLANS, json=body)
    assert answer.status_code == 201, answer.text
    return answer


class TestPlans:
    async def test_are_made_shown_listed_and_deleted(self, product):
        operator = await product.operator()
        answer = await make(operator, period="week", overage_allowed=True)
        plan = answer.json()
        assert plan == {"code": plan["code"], **EXAMPLE, "period": "week", "overage_allowed": True}
        path = f"{PLANS}/{plan['code']}"
        assert answer.headers["location"] == path
        assert (await operator.get(path)).json() == plan
        listed = (await operator.get(PLANS)).json()
        assert listed["next_cursor"] is None
        assert plan in listed["data"]
        assert {"free", "pro", "scale"} <= {each["code"] for each in listed["data"]}
        assert (await operator.delete(path)).status_code == 204
        assert (await operator.get(path)).status_code == 404

    async def test_a_taken_code_is_a_conflict(self, product):
        operator = await product.operator()
        code = (await make(operator)).json()["code"]
        assert (await operator.post(PLANS, json=new_plan(code=code))).status_code == 409

    async def test_one_that_tenants_are_on_stays_and_so_does_free(self, product):
        operator = await product.operator()
        code = (await make(operator)).json()["code"]
        tenant = await product.tenant(code)
        refused = await operator.delete(f"{PLANS}/{code}")
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        await operator.patch(f"/v1/admin/tenants/{tenant.id}", json={"plan": "pro"})
        assert (await operator.delete(f"{PLANS}/{code}")).status_code == 204
        refused = await operator.delete(f"{PLANS}/free")
        assert refused.status_code == 409
        assert refused.json()["detail"].startswith("This plan stays")  # also where no tenant is on it
        assert (await operator.get(f"{PLANS}/free")).status_code == 200

    async def test_a_change_holds_for_its_tenants_within_two_seconds(self, product):
        operator = await product.operator()
        code = (await make(operator, monthly_units=2)).json()["code"]
        tenant = await product.tenant(code)
        await tenant.upstream(product.zoo.url("ok"))
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 1
        changed = await operator.patch(f"{PLANS}/{code}", json={"monthly_units": 50, "max_chunks": 3})
        assert (changed.json()["monthly_units"], changed.json()["burst"]) == (50, EXAMPLE["burst"])
        await asyncio.sleep(FORGOTTEN_S)
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 48
        many = await tenant.http.post("/v1/process", json={"text": "xxxx", "split": {"size": 1}})
        assert many.status_code == 413

    @pytest.mark.parametrize("wrong", [
        {"burst": 0}, {"burst": None}, {"monthly_units": -1}, {"monthly_units": 10**15 + 1}, {"period": "year"},
        {"retention_days": 1.5}, {"code": "x"}, {"overage_allowed": "yes"}, {"max_chunks": 2**31},
    ])  # fmt: skip
    async def test_what_makes_no_sense_is_refused(self, product, wrong):
        operator = await product.operator()
        plan = (await make(operator)).json()
        path = f"{PLANS}/{plan['code']}"
        assert (await operator.patch(path, json=wrong)).status_code == 422
        assert (await operator.get(path)).json() == plan

    @pytest.mark.parametrize("code", ["", "Team", "a b", "-a", "团队", "a" * 64])
    async def test_a_code_is_a_slug(self, product, code):
        operator = await product.operator()
        assert (await operator.post(PLANS, json=new_plan(code=code))).status_code == 422
