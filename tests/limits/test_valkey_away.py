"""A Valkey that dies under a running application: no request fails, quotas and readiness stay, figures tell."""

import asyncio

from pydantic import SecretStr

from fanfold.core.config import RateLimitSettings
from tests.fixtures.app import TenantClient, product_settings, running_product
from tests.fixtures.database import TestDatabase
from tests.fixtures.valkey import ValkeyProcess


async def processed_until(tenant: TenantClient, store: str) -> int:
    """Process again and again until this store has decided three times; each request must be answered."""
    times, decided = 0, 0
    async with asyncio.timeout(60):
        while decided < 3:
            await tenant.process("四")
            times += 1
            answer = await tenant.http.get("/v1/tenant/limits")
            assert "r=" in answer.headers["RateLimit"]
            decided += answer.json()["rate_limit"]["store"] == store
    return times


async def test_nothing_fails_and_units_are_exact(
    database_urls: TestDatabase, valkey_process: ValkeyProcess
) -> None:
    kept = RateLimitSettings(valkey_url=SecretStr(valkey_process.url))
    settings = product_settings(database_urls).model_copy(update={"rate_limit": kept})
    async with running_product(database_urls, settings) as product:
        tenant, operator = await product.tenant(), await product.operator()
        await tenant.upstream(product.zoo.url("ok"))
        processed = await processed_until(tenant, "valkey")
        await valkey_process.kill()
        processed += await processed_until(tenant, "postgres")
        assert (await tenant.usage())["used"] == processed
        assert (await product.http().get("/readyz")).status_code == 200
        figures = (await operator.get("/metrics")).text
    for name in ("asks", "fallbacks"):
        (line,) = (
            each for each in figures.splitlines() if each.startswith(f"fanfold_rate_limit_{name}_total ")
        )
        assert float(line.split()[1]) > 0
