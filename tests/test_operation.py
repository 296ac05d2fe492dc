"""What operators watch."""

import sys

import httpx
import pytest
from pydantic import SecretStr

from fanfold.core.config import DatabaseSettings, ServerSettings
from fanfold.core.offload import SWITCH_S
from tests.fixtures.app import product_settings, running_product


async def test_a_server_that_can_serve_is_ready(product):
    stranger = product.http()
    assert (await stranger.get("/healthz")).json() == {"status": "ok"}
    assert (await stranger.get("/readyz")).status_code == 200


async def test_metrics_are_for_operators_and_for_this_machine(own_product):
    tenant, operator = await own_product.tenant(), await own_product.operator()
    await tenant.upstream(own_product.zoo.url("ok"))
    await tenant.process("text", split={"size": 2})
    remote = httpx.ASGITransport(app=own_product.app, client=("192.0.2.1", 1))
    async with httpx.AsyncClient(transport=remote, base_url="http://fanfold.test") as stranger:
        assert (await stranger.get("/metrics")).status_code == 404
        key = {"Authorization": operator.headers["Authorization"]}
        seen = (await stranger.get("/metrics", headers=key)).text
        assert (
            await stranger.get("/metrics", headers={"Authorization": f"Bearer {tenant.key}"})
        ).status_code == 404
    assert 'fanfold_fan_out_calls_total{code="ok"} 2.0' in seen
    assert 'http_requests_total{method="POST",route="/v1/process",status="200"} 1.0' in seen
    assert "fanfold_ledger_flushes_total" in seen
    assert str(tenant.id) not in seen


async def test_a_rate_limited_request_is_counted_by_its_bucket(own_product):
    tenant = await own_product.tenant(requests_per_minute=1, burst=1)
    for _ in range(2):
        await tenant.http.get("/v1/api-keys")
    assert (
        'fanfold_rate_limited_total{bucket="tenant"} 1.0' in (await own_product.http().get("/metrics")).text
    )


async def test_documentation_can_be_hidden(database_urls):
    settings = product_settings(database_urls)
    async with running_product(
        database_urls, settings.model_copy(update={"server": ServerSettings(docs=False)})
    ) as product:
        for path in ("/docs", "/redoc", "/openapi.json", "/docs/assets/swagger-ui.css"):
            assert (await product.http().get(path)).status_code == 404


async def test_documentation_shows_every_way_to_authenticate(product):
    document = (await product.http().get("/openapi.json")).json()
    assert set(document["components"]["securitySchemes"]) == {"ApiKey", "Bearer", "OAuth2"}
    ways = [{"OAuth2": ["process"]}, {"ApiKey": []}, {"Bearer": []}]
    assert document["paths"]["/v1/process"]["post"]["security"] == ways
    assert "security" not in document["paths"]["/ping"]["get"]
    assert (await product.http().get("/docs")).status_code == 200


async def test_a_database_that_is_away_is_not_ready_and_a_503(test_server, own_database):
    settings = product_settings(own_database).model_copy(
        update={"database": DatabaseSettings(url=SecretStr(own_database.app_url), pool_timeout_s=1.0)}
    )
    async with running_product(own_database, settings) as product:
        tenant, other = await product.tenant(), await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        test_server.drop(own_database)
        ready = await product.http().get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "not-ready")
        assert ready.headers["retry-after"] == "1"
        refused = await tenant.http.get("/v1/upstreams")
        assert (refused.status_code, refused.json()["code"]) == (503, "not-ready")
        assert refused.headers["retry-after"] == "1"
        assert (await product.http().get("/healthz")).status_code == 200
        assert (await product.http(other.key).get("/healthz")).status_code == 200


async def test_threads_that_compute_hand_the_interpreter_to_the_loop_promptly(own_product):
    assert own_product.app.state.offload.threads > 0
    assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
