"""A circuit from closed to open and back, over HTTP: an upstream that goes down, and comes back."""

import asyncio
import time
from typing import Any

from tests.fixtures.app import Product, TenantClient
from tests.fixtures.audited import audited
from tests.fixtures.figures import Figures

NEVER_OPENED = {"state": "closed", "opened_at": None, "retry_at": None, "processes": 0}


async def ask(tenant: TenantClient, *upstreams: dict[str, Any], **options: Any) -> dict[str, Any]:
    slugs = [upstream["slug"] for upstream in upstreams]
    return await tenant.process("五块文字啊", split={"size": 1}, upstreams=slugs, **options)


def codes(answer: dict[str, Any]) -> set[str]:
    return {result["error"]["code"] if result["error"] else "ok" for result in answer["results"]}


async def circuit(tenant: TenantClient, upstream: dict[str, Any]) -> dict[str, Any]:
    answer = await tenant.http.get(f"/v1/upstreams/{upstream['id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["circuit"]
    return found


async def until_state(tenant: TenantClient, upstream: dict[str, Any], state: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := await circuit(tenant, upstream))["state"] != state:
            await asyncio.sleep(0.02)
    return found


async def broken(product: Product, tenant: TenantClient, **options: Any) -> dict[str, Any]:
    """Register an upstream that is down, and ask it until its circuit opens."""
    upstream = await tenant.upstream(product.zoo.url("down", tag=tenant.slug), max_attempts=1, **options)
    async with asyncio.timeout(60):
        while codes(await ask(tenant, upstream)) != {"circuit-open"}:
            await asyncio.sleep(0.1)
    return upstream


async def test_down_then_open_then_half_open_then_back(product: Product, figures: Figures):
    tenant = await product.tenant()
    upstream, second = await broken(product, tenant), await tenant.upstream(product.zoo.url("ok"))
    sent, used = product.zoo.requests["down"], (await tenant.usage())["used"]

    began = time.perf_counter()
    refused = await ask(tenant, upstream)
    took_ms = (time.perf_counter() - began) * 1000
    shown = await until_state(tenant, upstream, "open")
    served = await ask(tenant, upstream, second, strategy="fallback")

    assert codes(refused) == {"circuit-open"}
    assert all("tried again in" in result["error"]["detail"] for result in refused["results"])
    assert [(result["attempts"], result["units"]) for result in refused["results"]] == [(0, 0)] * 5
    assert codes(served) == {"ok"}
    assert {result["upstream"] for result in served["results"]} == {second["slug"]}
    assert product.zoo.requests["down"] == sent
    assert shown["processes"] == 1
    assert shown["opened_at"] < shown["retry_at"]

    product.zoo.mend()
    await until_state(tenant, upstream, "half_open")
    async with asyncio.timeout(30):  # one call is the try: with it the others come back
        while codes(await ask(tenant, upstream)) != {"ok"}:
            await asyncio.sleep(0.02)
    assert await until_state(tenant, upstream, "closed") == NEVER_OPENED
    assert codes(await ask(tenant, upstream)) == {"ok"}
    assert (await tenant.usage())["used"] - used == product.zoo.served.total()
    figures(f"circuit over HTTP: 5 chunks refused by an open circuit in {took_ms:.0f} ms, 0 requests sent")


async def test_an_upstream_that_answers_has_a_closed_circuit_wherever_it_is_shown(product: Product):
    tenant = await product.tenant()
    upstream = await tenant.upstream(product.zoo.url("ok"))
    assert upstream["circuit"] == NEVER_OPENED
    assert codes(await ask(tenant, upstream)) == {"ok"}
    assert await circuit(tenant, upstream) == NEVER_OPENED
    changed = await tenant.http.patch(f"/v1/upstreams/{upstream['id']}", json={"weight": 2})
    assert changed.json()["circuit"] == NEVER_OPENED


async def test_the_list_and_an_answer_to_a_change_show_it_too_and_no_audit_line(product: Product):
    tenant = await product.tenant()
    upstream = await broken(product, tenant)
    fine = await tenant.upstream(product.zoo.url("ok"))
    await until_state(tenant, upstream, "open")
    listed = (await tenant.http.get("/v1/upstreams")).json()["data"]
    changed = await tenant.http.patch(f"/v1/upstreams/{upstream['id']}", json={"weight": 2})
    states = {row["id"]: row["circuit"]["state"] for row in listed}
    assert states == {upstream["id"]: "open", fine["id"]: "closed"}
    assert changed.json()["circuit"]["state"] == "open"
    lines = await audited(product, upstream["id"])
    assert lines[-1].after == {"weight": 2}
    assert "circuit" not in (lines[0].after or {})


async def test_at_a_new_address_it_begins_anew(product: Product):
    tenant = await product.tenant()
    upstream = await broken(product, tenant)
    await until_state(tenant, upstream, "open")
    moved = await tenant.http.patch(f"/v1/upstreams/{upstream['id']}", json={"url": product.zoo.url("ok")})
    assert moved.json()["circuit"] == NEVER_OPENED
    async with asyncio.timeout(30):  # a change is seen within two seconds
        while codes(await ask(tenant, upstream)) != {"ok"}:
            await asyncio.sleep(0.1)
    assert await circuit(tenant, upstream) == NEVER_OPENED


async def test_one_tenants_broken_upstream_is_nobody_elses(product: Product):
    tenant, other = await product.tenant(), await product.tenant()
    mine = await broken(product, tenant)
    theirs = await other.upstream(mine["url"], max_attempts=1)
    assert codes(await ask(other, theirs)) == {"status"}
    assert await circuit(other, theirs) == NEVER_OPENED


async def test_the_metrics_tell(own_product: Product):
    tenant = await own_product.tenant()
    await broken(own_product, tenant)
    text = (await own_product.http().get("/metrics")).text
    found = dict(
        line.split(" ") for line in text.splitlines() if line.startswith("fanfold_") and "{" not in line
    )
    assert float(found["fanfold_circuits_open"]) == 1
    assert float(found["fanfold_circuits"]) == 1
    assert float(found["fanfold_circuit_refused_total"]) >= 5
    assert float(found["fanfold_retry_budgets"]) == 0
    assert float(found["fanfold_retries_refused_total"]) == 0


async def test_a_shared_one_is_open_to_others_and_the_operator_sees_it_is_for_somebody(product: Product):
    tenant, other, operator = await product.tenant(), await product.tenant(), await product.operator()
    body = {"slug": f"s{tenant.slug}", "kind": "http_json", "url": product.zoo.url("down"), "max_attempts": 1}
    made = await operator.post("/v1/admin/upstreams", json=body)
    assert made.status_code == 201, made.text
    shared = made.json()
    path = f"/v1/admin/upstreams/{shared['id']}"
    try:
        async with asyncio.timeout(60):
            while codes(await ask(tenant, shared)) != {"circuit-open"}:
                await asyncio.sleep(0.1)
        assert (await until_state(tenant, shared, "open"))["processes"] == 1
        assert codes(await ask(other, shared)) == {"status"}
        assert await circuit(other, shared) == NEVER_OPENED
        assert (await operator.get(path)).json()["circuit"]["processes"] == 1
        listed = (await operator.get("/v1/admin/upstreams")).json()["data"]
        (state,) = [row["circuit"]["state"] for row in listed if row["id"] == shared["id"]]
        assert state != "closed"
        moved = await operator.patch(path, json={"url": product.zoo.url("ok")})
        assert moved.json()["circuit"] == NEVER_OPENED
        assert await circuit(tenant, shared) == NEVER_OPENED
    finally:
        assert (await operator.delete(path)).status_code == 204
