"""What one tenant's requests may not do to a process, or to another tenant's."""

import asyncio
import threading

import pytest
from sqlalchemy import text

from fanfold.core.config import OffloadSettings
from tests.fixtures.app import product_settings, running_product


async def test_many_requests_of_one_tenant_leave_slots_to_another(database_urls):
    settings = product_settings(database_urls, max_connections=8)
    async with running_product(database_urls, settings) as product:
        greedy, modest = await product.tenant(), await product.tenant()
        await greedy.upstream(product.zoo.url("hang"), units_per_call=0)
        await modest.upstream(product.zoo.url("ok"))
        waiting = [
            asyncio.create_task(greedy.process("x" * 20, split={"size": 1}, deadline_s=8)) for _ in range(4)
        ]
        while product.app.state.fan_out.in_flight < 2:
            await asyncio.sleep(0.01)
        assert (await modest.process("x", deadline_s=4))["status"] == "succeeded"
        assert product.app.state.fan_out.in_flight <= 2
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.parametrize("kind", ["response_path", "echo", "concat"])
async def test_answers_together_are_bounded_however_they_grow(product, kind):
    tenant = await product.tenant("scale")
    body = {"text": "x" * 40, "split": {"size": 1}}
    if kind == "response_path":
        await tenant.upstream(
            product.zoo.url("ok", bytes=400_000), response_path="[" + ",".join(["@"] * 16) + "]"
        )
    elif kind == "echo":
        await tenant.upstream("https://echo.example/", kind="echo", slug="e")
        body = {
            "text": "x" * 1_500_000,
            "split": {"size": 100_000},
            "strategy": "broadcast",
            "upstreams": ["e"] * 50,
        }
    else:
        await tenant.upstream("https://echo.example/", kind="echo")
        body = {
            "text": "x" * 20_000,
            "split": {"size": 1},
            "fold": {"by": "concat", "separator": "👩‍👩‍👧‍👦" * 140},
        }
    answer = await tenant.http.post("/v1/process", json=body)
    assert answer.status_code == 200
    assert len(answer.content) < 75 * 1024 * 1024
    codes = {result["error"]["code"] for result in answer.json()["results"] if result["error"]}
    folded = answer.json()["fold"]["error"]
    assert codes == {"too-large"} or folded["code"] == "too-large"


async def test_a_tenant_sees_its_own_change_at_once(product):
    tenant = await product.tenant()
    refused = await tenant.http.post("/v1/process", json={"text": "x"})
    assert refused.json()["code"] == "unknown-upstream"
    await tenant.upstream(product.zoo.url("ok"))
    assert (await tenant.process("x"))["status"] == "succeeded"


async def test_a_credential_that_does_not_open_stops_no_other_upstream(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), slug="good")
    broken = await tenant.upstream(product.zoo.url("ok"), slug="broken", credential="secret")
    async with product.app.state.database.session(tenant.id) as session, session.begin():
        await session.execute(
            text("update fanfold.upstreams set credential_sealed = '\\x00' where id = :id"),
            {"id": broken["id"]},
        )
    await asyncio.sleep(1.1)
    assert (await tenant.process("x", upstreams=["good"]))["status"] == "succeeded"
    refused = await tenant.http.post("/v1/process", json={"text": "x", "upstreams": ["broken"]})
    assert (refused.status_code, refused.json()["code"]) == (503, "not-ready")


async def test_null_is_as_good_as_nothing(product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    answer = await tenant.process("xyz", split={"size": 1}, chunk_size=None, api_urls=None, upstreams=None)
    assert answer["total"] == 3


async def test_when_the_pool_off_the_loop_is_full_long_texts_are_refused_and_short_ones_pass(database_urls):
    settings = product_settings(database_urls).model_copy(
        update={"offload": OffloadSettings(threads=1, queue=1)}
    )
    async with running_product(database_urls, settings) as product:
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"))
        offload, go = product.app.state.offload, threading.Event()
        busy = [asyncio.create_task(offload.run(go.wait)) for _ in range(2)]
        while offload.running + offload.waiting < 2:
            await asyncio.sleep(0.01)
        refused = await tenant.http.post("/v1/process", json={"text": "长文。" * 10_000})
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await tenant.process("short"))["status"] == "succeeded"
        gauges = (await product.http().get("/metrics")).text
        assert "fanfold_offload_running 1.0" in gauges
        assert "fanfold_offload_waiting 1.0" in gauges
        go.set()
        await asyncio.gather(*busy)
        assert (await tenant.process("长文。" * 10_000))["status"] == "succeeded"
