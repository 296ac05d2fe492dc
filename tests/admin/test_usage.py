"""`GET /v1/admin/usage`: what operators see of all tenants, and nobody else."""

import datetime as dt
from typing import Any

import pytest

from tests.fixtures.app import product_settings, running_product
from tests.usage.books import Books
from tests.usage.history import at, history

MARCH = {"from": "2026-03-01", "to": "2026-03-31"}


@pytest.fixture
async def told(own_database):
    """Three tenants' March, half of it rolled up, read over HTTP by an operator."""
    books = Books(own_database)
    async with history(books) as past:
        tenants = [await books.new_tenant() for _ in range(3)]
        for number, tenant in enumerate(tenants, 1):
            await past.event(tenant, at("2026-03-10"), number, upstream="a", api_key=tenant)
            await past.event(tenant, at("2026-03-20"), 10 * number, upstream=None)
            await past.event(tenant, at("2026-03-20"), 0, outcome="unbilled")
            await past.event(tenant, at("2026-04-01", "00:00"), 100)
        await past.roll(at("2026-03-15"))
    async with running_product(own_database, product_settings(own_database)) as product:
        yield tenants, await product.operator(), product


async def test_totals_and_each_group_add_up(told):
    tenants, operator, _ = told
    by_tenant = (await operator.get("/v1/admin/usage", params=MARCH)).json()
    assert (by_tenant["units"], by_tenant["events"], by_tenant["unbilled"]) == (66, 9, 3)
    assert (by_tenant["first"], by_tenant["last"]) == ("2026-03-01", "2026-03-31")
    assert {line["tenant"]: line["units"] for line in by_tenant["data"]} == {
        str(tenant): 11 * number for number, tenant in enumerate(tenants, 1)
    }
    groups: dict[str, dict[str | None, int]] = {
        "day": {"2026-03-10": 6, "2026-03-20": 60},
        "upstream": {None: 60, "a": 6, "摘要": 0},
        "api_key": {None: 60, **{str(tenant): number for number, tenant in enumerate(tenants, 1)}},
    }
    for group, wanted in groups.items():
        answer = (await operator.get("/v1/admin/usage", params={**MARCH, "group_by": group})).json()
        assert {line[group]: line["units"] for line in answer["data"]} == wanted
        assert answer["units"] == 66


@pytest.mark.parametrize("group", ["tenant", "day", "upstream", "api_key"])
async def test_pages_follow_one_another(told, group):
    _, operator, _ = told
    whole = (await operator.get("/v1/admin/usage", params={**MARCH, "group_by": group})).json()
    seen: list[Any] = []
    cursor = None
    while True:
        query = {**MARCH, "group_by": group, "limit": 1, **({"cursor": cursor} if cursor else {})}
        page = (await operator.get("/v1/admin/usage", params=query)).json()
        assert page["units"] == whole["units"]
        seen, cursor = seen + page["data"], page["next_cursor"]
        if not cursor:
            break
    assert seen == whole["data"]


async def test_without_days_it_is_this_month(told):
    _, operator, product = told
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), units_per_call=3)
    await tenant.process("x")
    answer = (await operator.get("/v1/admin/usage")).json()
    assert answer["first"] == f"{dt.datetime.now(dt.UTC):%Y-%m-01}"
    assert [(line["tenant"], line["units"]) for line in answer["data"]] == [(str(tenant.id), 3)]
    assert (await tenant.http.get("/v1/admin/usage")).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-02-02&to=2026-02-01",
        "from=2020-01-01&to=2026-01-01",
        "group_by=x",
        "cursor=%FF",
        "cursor=A",
    ],
)
async def test_refuses_what_makes_no_sense(product, query):
    operator = await product.operator()
    answer = await operator.get(f"/v1/admin/usage?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"]
