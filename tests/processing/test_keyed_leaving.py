"""Clients that leave: with a key, the answer there is by then is kept; with `continue` the request goes on."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.fixtures.app import Product, TenantClient


async def leave(
    product: Product, tenant: TenantClient, key: str, body: Any, *, after: AsyncIterator[None]
) -> int:
    """Send the request over ASGI itself and hang up when `after` ends; returns the status it ended with."""
    sent: list[Any] = []
    parts = [{"type": "http.request", "body": orjson.dumps(body), "more_body": False}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        async for _ in after:
            pass
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = {
        "authorization": f"Bearer {tenant.key}",
        "content-type": "application/json",
        "idempotency-key": key,
    }
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/process", "raw_path": b"/v1/process", "query_string": b"", "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("fanfold.test", 80),
    }  # fmt: skip
    async with asyncio.timeout(30):
        await product.app(scope, receive, send)
    return int(sent[0]["status"])


async def until_asked(product: Product, behaviour: str, times: int) -> AsyncIterator[None]:
    while product.zoo.requests[behaviour] < times:
        await asyncio.sleep(0.01)
        yield


async def _until_the_fast_one_is_done(product: Product) -> AsyncIterator[None]:
    """One answer is taken in, and the other upstream is asked."""
    zoo, fan_out = product.zoo, product.app.state.fan_out
    while (zoo.served["ok"], zoo.requests["hang"], fan_out.in_flight) != (1, 1, 1):
        await asyncio.sleep(0.01)
        yield


async def _answer(tenant: TenantClient, key: str, body: Any) -> Any:
    """Repeat the request until it is no longer running."""
    async with asyncio.timeout(30):
        while True:
            answer = await tenant.http.post("/v1/process", json=body, headers={"Idempotency-Key": key})
            if answer.status_code != 409:
                return answer
            await asyncio.sleep(0.02)


async def test_who_leaves_finds_what_was_done_and_nothing_runs_again(product: Product):
    tenant, key = await product.tenant(), secrets.token_hex(8)
    await tenant.upstream(product.zoo.url("ok"), slug="fast")
    await tenant.upstream(product.zoo.url("hang"), slug="never", timeout_s=60)
    body = {"text": "ab", "split": {"size": 1}, "upstreams": ["fast", "never"], "deadline_s": 60}
    assert await leave(product, tenant, key, body, after=_until_the_fast_one_is_done(product)) == 499
    first = await _answer(tenant, key, body)
    codes = [result["error"]["code"] if result["error"] else "ok" for result in first.json()["results"]]
    assert (first.status_code, codes) == (200, ["ok", "cancelled"])
    assert first.headers["idempotent-replayed"] == "true"
    assert first.json()["usage"]["units"] == (await tenant.usage())["used"] == 1
    assert (await _answer(tenant, key, body)).content == first.content
    assert (product.zoo.requests["ok"], product.zoo.requests["hang"]) == (1, 1)


async def test_who_leaves_before_anything_was_done_may_ask_anew(product: Product):
    tenant, key = await product.tenant(), secrets.token_hex(8)
    await tenant.upstream(product.zoo.url("held"), idempotent=False)
    body = {"text": "a"}
    assert await leave(product, tenant, key, body, after=until_asked(product, "held", 1)) == 499
    product.zoo.lets_go.set()
    again = await _answer(tenant, key, body)
    assert (again.json()["status"], again.json()["usage"]["units"]) == ("succeeded", 1)
    assert "idempotent-replayed" not in again.headers
    assert (await tenant.usage())["used"] == 1


async def test_with_continue_the_request_goes_on_and_its_answer_is_found(product: Product):
    tenant, key = await product.tenant(max_concurrent_requests=1), secrets.token_hex(8)
    await tenant.upstream(product.zoo.url("held"))
    body = {"text": "abc", "split": {"size": 1}, "on_disconnect": "continue"}
    left = asyncio.create_task(leave(product, tenant, key, body, after=until_asked(product, "held", 1)))
    async for _ in until_asked(product, "held", 3):
        pass
    second = await tenant.http.post("/v1/process", json={"text": "x"})
    assert second.json()["code"] == "concurrency-exceeded", "who has left is no longer counted"
    product.zoo.lets_go.set()
    await left
    answer = await _answer(tenant, key, body)
    assert (answer.json()["status"], answer.json()["usage"]["units"]) == ("succeeded", 3)
    assert answer.headers["idempotent-replayed"] == "true"
    assert product.zoo.requests["held"] == (await tenant.usage())["used"] == 3


async def test_without_leaving_continue_is_an_ordinary_request(product: Product):
    tenant, key = await product.tenant(), secrets.token_hex(8)
    await tenant.upstream(product.zoo.url("ok"))
    body = {"text": "abc", "on_disconnect": "continue"}
    first, second = await _answer(tenant, key, body), await _answer(tenant, key, body)
    assert (first.json()["status"], second.content) == ("succeeded", first.content)


@pytest.mark.parametrize("path", ["/v1/process", "/process/"])
async def test_continue_without_a_key_is_a_422_that_says_why(product: Product, path: str):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    answer = await tenant.http.post(path, json={"text": "a text of ten", "on_disconnect": "continue"})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation")
    assert answer.json()["errors"][0]["loc"] == ["body", "on_disconnect"]
    assert "Idempotency-Key" in answer.json()["detail"]
    assert product.zoo.requests.total() == 0
