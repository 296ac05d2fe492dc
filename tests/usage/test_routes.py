"""`GET /v1/usage` over HTTP."""

import datetime as dt

import pytest


async def test_groups_add_up_to_the_counter(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), slug="a", units_per_call=2, units_per_1k_chars=3)
    await tenant.upstream(product.zoo.url("ok"), slug="b")
    await tenant.process("x" * 6, split={"size": 2}, upstreams=["a", "b"])
    for group_by in ("day", "upstream", "api_key"):
        usage = (await tenant.http.get("/v1/usage", params={"group_by": group_by})).json()
        assert sum(line["units"] for line in usage["data"]) == usage["used"] == 7
    by_upstream = (await tenant.http.get("/v1/usage?group_by=upstream")).json()["data"]
    assert {line["upstream"]: line["units"] for line in by_upstream} == {"a": 6, "b": 1}


async def test_of_a_tenant_that_did_nothing_is_empty(product):
    tenant = await product.tenant("free")
    usage = await tenant.usage()
    today = dt.datetime.now(dt.UTC)
    assert usage["period_start"] == today.strftime("%Y-%m-01T00:00:00Z")
    assert (usage["granted"], usage["reserved"], usage["used"], usage["remaining"]) == (1000, 0, 0, 1000)
    assert usage["data"] == []


async def test_a_span_of_other_days_holds_nothing_of_today(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    await tenant.process("x")
    usage = (await tenant.http.get("/v1/usage?from=2020-01-01&to=2020-12-31")).json()
    assert (usage["data"], usage["used"]) == ([], 1)


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-02-01&to=2026-01-01",
        "from=2020-01-01&to=2026-01-01",
        "from=x",
        "to=9999-12-31",
        "group_by=x",
    ],
)
async def test_refuses_a_span_that_makes_no_sense(product, query):
    tenant = await product.tenant()
    assert (await tenant.http.get(f"/v1/usage?{query}")).status_code == 422


async def test_needs_its_scope(product):
    tenant = await product.tenant(scopes=["process"])
    assert (await tenant.http.get("/v1/usage")).status_code == 403
