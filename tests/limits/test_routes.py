"""What a tenant reads of its own limits, and that its rate limit is one over all processes."""

import pytest

from fanfold.core.config import RateLimitSettings
from tests.fixtures.app import Product, product_settings, running_product
from tests.fixtures.database import TestDatabase


async def test_a_tenant_reads_its_limits_and_how_exactly_they_are_kept(product: Product) -> None:
    tenant = await product.tenant(
        "free", scopes=["usage:read"], requests_per_minute=60_000, burst=4_000, max_concurrent_requests=5
    )
    answer = await tenant.http.get("/v1/tenant/limits")
    assert answer.status_code == 200
    limits = answer.json()
    processes = product.app.state.rate_limit_store._first.processes
    assert limits.pop("rate_limit") == {
        "store": "postgres",
        "may_exceed_by": processes * max(1, 100 // processes),
    }
    assert limits == {
        "monthly_units": 1_000, "requests_per_minute": 60_000, "burst": 4_000, "max_concurrent_requests": 5,
        "max_text_chars": 200_000, "max_chunks": 500, "max_upstreams": 5, "max_api_keys": 3,
        "overage_allowed": False, "retention_days": 7, "period": "month", "weight": 1, "max_stored_bytes": 100_000_000,
    }  # fmt: skip


async def test_any_tenant_credential_reads_them_and_no_other(product: Product) -> None:
    tenant = await product.tenant(scopes=["process"])
    assert (await tenant.http.get("/v1/tenant/limits")).status_code == 200
    assert (await product.http().get("/v1/tenant/limits")).status_code == 401
    assert (await (await product.operator()).get("/v1/tenant/limits")).status_code == 403


@pytest.mark.parametrize(("workers", "bound"), [(1, 0), (4, 3 * 20)])
async def test_the_memory_store_says_that_each_process_counts_for_itself(
    database_urls: TestDatabase, workers: int, bound: int
) -> None:
    settings = product_settings(database_urls)
    server = settings.server.model_copy(update={"workers": workers})
    in_memory = settings.model_copy(
        update={"rate_limit": RateLimitSettings(store="memory"), "server": server}
    )
    async with running_product(database_urls, in_memory) as product:
        tenant = await product.tenant(requests_per_minute=60, burst=20)
        answer = await tenant.http.get("/v1/tenant/limits")
        assert answer.json()["rate_limit"] == {"store": "memory", "may_exceed_by": bound}


async def test_two_applications_on_one_database_admit_one_burst(database_urls: TestDatabase) -> None:
    settings = product_settings(database_urls)
    async with (
        running_product(database_urls, settings) as one,
        running_product(database_urls, settings) as two,
    ):
        tenant = await one.tenant(requests_per_minute=1, burst=10)
        clients = [tenant.http, two.http(tenant.key)]
        statuses = [(await clients[turn % 2].get("/v1/upstreams")).status_code for turn in range(24)]
        fields = (await one.http(tenant.key).get("/v1/tenant/limits")).headers["RateLimit"]
    assert "r=0" in fields
    assert statuses.count(200) == 10
    assert set(statuses) == {200, 429}
