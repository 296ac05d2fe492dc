"""Concurrent requests over HTTP: who counts, against which limit, and what a refused client sees."""

import asyncio
from contextlib import asynccontextmanager

import pytest


@asynccontextmanager
async def running_requests(product, tenant, *clients):
    """Requests that run, one of each client, until the body is done."""
    upstream = await tenant.upstream(product.zoo.url("slow", ms=60_000))
    body = {"text": "四", "upstreams": [upstream["slug"]], "timeout_s": 100}
    limiter = product.app.state.concurrency
    before = limiter.running
    tasks = [asyncio.create_task(client.post("/v1/process", json=body)) for client in clients]
    async with asyncio.timeout(20):
        while limiter.running < before + len(clients):
            await asyncio.sleep(0.01)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_one_more_than_the_tenant_s_limit_is_refused_with_the_ratelimit_fields(own_product):
    tenant = await own_product.tenant(max_concurrent_requests=2)
    async with running_requests(own_product, tenant, tenant.http, tenant.http):
        refused = await tenant.http.get("/v1/usage")
        assert (refused.status_code, refused.json()["code"]) == (429, "concurrency-exceeded")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit"].startswith('"tenant";r=')
        assert "At most 2 requests of this tenant" in refused.json()["detail"]
    assert (await tenant.http.get("/v1/usage")).status_code == 200
    assert own_product.app.state.concurrency.running == 0


async def test_a_key_s_own_limit_holds_beside_its_tenant_s(product):
    tenant = await product.tenant()
    body = {"name": "narrow", "scopes": ["process", "usage:read"], "max_concurrent_requests": 1}
    http = product.http((await tenant.http.post("/v1/api-keys", json=body)).json()["key"])
    async with running_requests(product, tenant, http):
        refused = await http.get("/v1/usage")
        assert (refused.status_code, refused.json()["code"]) == (429, "concurrency-exceeded")
        assert "At most 1 requests of this key" in refused.json()["detail"]
        assert (await tenant.http.get("/v1/usage")).status_code == 200


async def test_refusals_and_what_runs_are_counted(own_product):
    tenant = await own_product.tenant(max_concurrent_requests=1)
    operator = await own_product.operator()
    async with running_requests(own_product, tenant, tenant.http):
        await tenant.http.get("/v1/usage")
        metrics = (await operator.get("/metrics")).text
    assert "fanfold_concurrent_requests 1.0" in metrics
    assert 'fanfold_concurrency_refused_total{holder="tenant"} 1.0' in metrics


async def test_operators_strangers_and_what_looks_after_the_server_do_not_count(own_product):
    tenant = await own_product.tenant(max_concurrent_requests=1)
    operator = await own_product.operator()
    async with running_requests(own_product, tenant, tenant.http):
        for path in ("/healthz", "/readyz", "/docs", "/openapi.json", "/problems/concurrency-exceeded"):
            assert (await tenant.http.get(path)).status_code == 200, path
        assert (await tenant.http.get("/metrics")).status_code != 429
        assert (await own_product.http().get("/ping")).status_code == 200
        assert (await operator.get("/v1/admin/tenants")).status_code == 200
        assert own_product.app.state.concurrency.running == 1


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/nowhere", "/v1/process"])
async def test_whatever_the_answer_the_slot_is_free_again(own_product, path):
    tenant = await own_product.tenant(max_concurrent_requests=1)
    for _ in range(5):
        answer = await tenant.http.get(path)
        assert answer.json().get("code") != "concurrency-exceeded"
    assert own_product.app.state.concurrency.running == 0
