"""A key's answer in either form: kept from one, replayed in the other, however it was cut into parts."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from fanfold.core.events import Event
from fanfold.processing.replay import _events, _lines
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.event_streams import parse_whole

BODY = {"text": "折\n\u2028叠👨‍👩‍👧‍👦", "split": {"size": 1}, "fold": {"by": "concat", "separator": "],\n"}}


async def ask(tenant: TenantClient, key: str, body: Any, **headers: str) -> Any:
    return await tenant.http.post("/v1/process", json=body, headers={"Idempotency-Key": key, **headers})


async def keyed_tenant(product: Product) -> tuple[TenantClient, str]:
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), response_path="echo")
    return tenant, secrets.token_hex(8)


async def test_what_a_stream_answered_is_replayed_as_json_and_as_a_stream(product: Product):
    tenant, key = await keyed_tenant(product)
    first = parse_whole((await ask(tenant, key, {**BODY, "stream": True})).content)
    plain = await ask(tenant, key, BODY)
    again = await ask(tenant, key, BODY, Accept="text/event-stream")
    assert first.answer == plain.json()
    assert parse_whole(again.content).answer == plain.json()
    assert [answer.headers["idempotent-replayed"] for answer in (plain, again)] == ["true", "true"]
    assert again.headers["content-type"] == "text/event-stream"
    assert product.zoo.requests["ok"] == (await tenant.usage())["used"] == 5


async def test_what_json_answered_is_replayed_as_a_stream_in_the_order_of_the_answer(product: Product):
    tenant, key = await keyed_tenant(product)
    plain = (await ask(tenant, key, BODY)).json()
    stream = parse_whole((await ask(tenant, key, {**BODY, "stream": True})).content)
    assert stream.names == ["accepted", *["chunk"] * 5, "progress", "done"]
    assert stream.events[0].data == {"id": plain["id"], "total": 5, "units_max": plain["usage"]["units"]}
    assert stream.data("chunk") == plain["results"]
    assert stream.data("progress") == [{"done": 5, "total": 5}]
    assert stream.answer == plain
    assert product.zoo.requests["ok"] == 5


async def test_another_request_is_another_one_in_any_form(product: Product):
    tenant, key = await keyed_tenant(product)
    await ask(tenant, key, {**BODY, "stream": True})
    for form in ({}, {"stream": True}, {"stream": False}):
        other = await ask(tenant, key, {**BODY, "text": "another", **form})
        assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")


HEAD, TAIL = b'{"id":"x","total":3,"results":[\n', b'\n],"output":"]","fold":{},"usage":{}}'
KEPT = HEAD + b'{"index":0},\n{"index":1,"result":"],"},\n{"index":2}' + TAIL


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 64, 10_000])
async def test_however_the_answer_was_cut_its_events_are_the_same(size: int):
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(KEPT), size):
            yield KEPT[start : start + size]

    told = [event async for event in _events(_lines(parts()), units=7)]
    assert told[0] == Event("accepted", b'{"id":"x","total":3,"units_max":7}')
    assert [event.data for event in told if event.name == "chunk"] == [
        b'{"index":0}', b'{"index":1,"result":"],"}', b'{"index":2}'
    ]  # fmt: skip
    assert orjson.loads(told[-1].data) == {"id": "x", "total": 3, "output": "]", "fold": {}, "usage": {}}
