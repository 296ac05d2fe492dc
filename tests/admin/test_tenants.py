"""`/v1/admin/tenants` over HTTP."""

import asyncio
import secrets


async def make(operator, **body):
    answer = await operator.post("/v1/admin/tenants", json={"slug": f"t{secrets.token_hex(5)}", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()


class TestCreateAndRead:
    async def test_a_new_tenant_has_its_plan_s_limits(self, product):
        operator = await product.operator()
        tenant = await make(operator, plan="scale", name="株式会社 Acme")
        assert (tenant["plan"], tenant["status"], tenant["name"]) == ("scale", "active", "株式会社 Acme")
        assert tenant["limits"] == {
            "monthly_units": 10_000_000, "requests_per_minute": 60_000, "burst": 5_000,
            "max_concurrent_requests": 1_000, "max_text_chars": 20_000_000, "max_chunks": 50_000,
            "max_upstreams": 500, "max_api_keys": 500, "overage_allowed": False, "retention_days": 90,
            "weight": 16, "max_stored_bytes": 100_000_000_000,
        }  # fmt: skip
        assert (await operator.get(f"/v1/admin/tenants/{tenant['id']}")).json() == tenant

    async def test_a_taken_slug_and_an_unknown_plan_are_told(self, product):
        operator = await product.operator()
        tenant = await make(operator)
        taken = await operator.post("/v1/admin/tenants", json={"slug": tenant["slug"]})
        assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
        unknown = await operator.post("/v1/admin/tenants", json={"slug": "never", "plan": "gold"})
        assert unknown.status_code == 422
        known = unknown.json()["detail"].partition("Known: ")[2].rstrip(".").split(", ")
        assert {"free", "pro", "scale"} <= set(known)

    async def test_search_finds_part_of_slug_or_name_and_percent_is_a_letter(self, product):
        operator = await product.operator()
        mark = secrets.token_hex(6)
        named = await make(operator, name=f"Über 100% {mark.upper()}")
        slugged = await make(operator, slug=f"x-{mark}")
        found = (await operator.get("/v1/admin/tenants", params={"search": mark})).json()["data"]
        assert [tenant["id"] for tenant in found] == [slugged["id"], named["id"]]
        percent = (await operator.get("/v1/admin/tenants", params={"search": f"100% {mark}"})).json()["data"]
        assert [tenant["id"] for tenant in percent] == [named["id"]]
        wild = (await operator.get("/v1/admin/tenants", params={"search": f"%{mark[:4]}%{mark[4:]}"})).json()
        assert wild["data"] == []

    async def test_filters_by_status_and_plan(self, product):
        operator = await product.operator()
        tenant = await make(operator, plan="scale")
        await operator.post(f"/v1/admin/tenants/{tenant['id']}/suspend")
        params = {"status": "suspended", "plan": "scale", "search": tenant["slug"]}
        assert len((await operator.get("/v1/admin/tenants", params=params)).json()["data"]) == 1
        params["status"] = "active"
        assert (await operator.get("/v1/admin/tenants", params=params)).json()["data"] == []


class TestUpdate:
    async def test_a_plan_change_counts_from_the_next_request(self, product):
        operator, tenant = await product.operator(), await product.tenant("free")
        await tenant.upstream(product.zoo.url("ok"))
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 999
        changed = await operator.patch(f"/v1/admin/tenants/{tenant.id}", json={"plan": "pro"})
        assert changed.json()["plan"] == "pro"
        await asyncio.sleep(1.1)
        assert (await tenant.process("x"))["usage"]["quota_remaining"] == 99_998

    async def test_overrides_are_set_kept_and_taken_away(self, product):
        operator = await product.operator()
        path = f"/v1/admin/tenants/{(await make(operator, plan='pro'))['id']}/limits"
        await operator.patch(path, json={"monthly_units": 7, "overage_allowed": True})
        both = (await operator.patch(path, json={"burst": 3})).json()
        assert both["limit_overrides"] == {"monthly_units": 7, "overage_allowed": True, "burst": 3}
        assert (both["limits"]["monthly_units"], both["limits"]["burst"]) == (7, 3)
        less = (await operator.patch(path, json={"monthly_units": None})).json()
        assert less["limits"]["monthly_units"] == 100_000
        assert "monthly_units" not in less["limit_overrides"]

    async def test_a_limit_below_what_is_used_refuses_more_and_loses_nothing(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        await tenant.process("x" * 10, split={"size": 1})
        await operator.patch(f"/v1/admin/tenants/{tenant.id}/limits", json={"monthly_units": 4})
        await asyncio.sleep(1.1)
        assert (await tenant.http.post("/v1/process", json={"text": "x"})).status_code == 402
        usage = await tenant.usage()
        assert (usage["granted"], usage["used"], usage["remaining"]) == (4, 10, 0)


class TestSuspend:
    async def test_is_403_within_two_seconds_and_resume_lets_in_again(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        assert (await tenant.http.get("/v1/usage")).status_code == 200
        assert (await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")).json()["status"] == "suspended"
        await asyncio.sleep(1.1)
        refused = await tenant.http.get("/v1/usage")
        assert (refused.status_code, refused.json()["code"]) == (403, "tenant-suspended")
        await operator.post(f"/v1/admin/tenants/{tenant.id}/resume")
        await asyncio.sleep(1.1)
        assert (await tenant.http.get("/v1/usage")).status_code == 200

    async def test_what_runs_is_finished_and_settled(self, product):
        operator, tenant = await product.operator(), await product.tenant()
        await tenant.upstream(product.zoo.url("held"))
        running = asyncio.create_task(tenant.process("x"))
        async with asyncio.timeout(30):
            while not product.zoo.requests["held"]:
                await asyncio.sleep(0.01)
        await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend")
        product.zoo.lets_go.set()
        assert (await running)["status"] == "succeeded"
