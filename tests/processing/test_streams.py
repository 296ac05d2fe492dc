"""`POST /v1/process` as an event stream: which form is sent, what it holds, and what comes instead of one."""

from typing import Any

import httpx
import pytest

from tests.fixtures.app import Product, TenantClient
from tests.fixtures.event_streams import Stream, parse_whole

HARD = '折👨‍👩‍👧‍👦\r\n\u2028\u2029\x85\x0b\x1c"\\data: x\n\n: keepalive\n\nid: 7'


async def streamed(tenant: TenantClient, text: str, path: str = "/v1/process", **options: Any) -> Stream:
    answer = await tenant.http.post(path, json={"text": text, "stream": True, **options})
    assert answer.status_code == 200, answer.text
    return parse_whole(answer.content)


def without_time(answer: dict[str, Any]) -> dict[str, Any]:
    results = [{**result, "latency_ms": 0} for result in answer["results"]]
    usage = {**answer["usage"], "quota_remaining": None}
    return {**answer, "id": None, "results": results, "usage": usage}


@pytest.mark.parametrize("fold", ["list", "concat", "vote", "reduce"])
async def test_together_the_events_are_the_answer(product: Product, fold: str):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), response_path="echo")
    options: dict[str, Any] = {"split": {"size": 2}, "fold": {"by": fold}}
    plain = await tenant.process(HARD, **options)
    stream = await streamed(tenant, HARD, **options)
    assert without_time(stream.answer) == without_time(plain)
    accepted = stream.events[0].data
    assert accepted["id"] == stream.answer["id"]
    assert accepted["total"] == plain["total"] > 5
    assert stream.data("progress")[-1] == {"done": plain["total"], "total": plain["total"]}
    used = (await tenant.usage())["used"]
    assert used == plain["usage"]["units"] + stream.answer["usage"]["units"]
    assert stream.answer["usage"]["quota_remaining"] == (await tenant.usage())["remaining"]


async def test_units_max_is_what_the_quote_says(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"), units_per_call=3)
    body: dict[str, Any] = {"text": "折叠一二", "split": {"size": 1}, "fold": {"by": "reduce"}}
    quote = (await tenant.http.post("/v1/process/quote", json=body)).json()
    stream = await streamed(tenant, **body)
    assert stream.events[0].data["units_max"] == quote["units_max"] > 12


async def test_a_failed_chunk_is_a_chunk_like_others(product: Product):
    tenant = await product.tenant()
    slugs = [(await tenant.upstream(product.zoo.url(path), max_attempts=1))["slug"] for path in ("ok", "500")]
    stream = await streamed(tenant, "ab", split={"size": 1}, upstreams=slugs)
    assert [result["success"] for result in stream.chunks] == [True, False]
    assert stream.chunks[1]["error"]["code"] == "status"
    assert (stream.answer["status"], stream.answer["usage"]["units"]) == ("partial", 1)


async def test_headers_keep_the_stream_out_of_caches_and_buffers(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    answer = await tenant.http.post("/v1/process", json={"text": "a", "stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert "content-length" not in answer.headers
    assert {"x-request-id", "ratelimit", "ratelimit-policy"} <= answer.headers.keys()


EVENTS, JSON = "text/event-stream", "application/json"


@pytest.mark.parametrize(
    ("accept", "body", "expected"),
    [
        (EVENTS, {}, EVENTS),
        (EVENTS.upper(), {}, EVENTS),
        (f"{EVENTS}, */*", {}, EVENTS),
        (f"{EVENTS}, */*;q=0.1", {}, EVENTS),
        (f"application/json;q=0.5, {EVENTS}", {}, EVENTS),
        (f"text/html , {EVENTS} ; charset=utf-8 ; q=0.4, application/*;q=0.4", {}, EVENTS),
        (f"{EVENTS}, {JSON}", {}, JSON),
        (f"{EVENTS};q=0.5, */*", {}, JSON),
        (f"{EVENTS};q=0", {}, JSON),
        (f"{EVENTS};q=2", {}, JSON),
        (f"{EVENTS};q=0.9, {JSON}", {}, JSON),
        ("text/*", {}, JSON),
        ("*/*", {}, JSON),
        ("", {}, JSON),
        (",;=q,/", {}, JSON),
        (EVENTS, {"stream": False}, JSON),
        (JSON, {"stream": True}, EVENTS),
        ("*/*", {"stream": True}, EVENTS),
    ],
)
async def test_the_body_decides_and_where_it_is_silent_accept(product: Product, accept, body, expected):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    answer = await tenant.http.post("/v1/process", json={"text": "a", **body}, headers={"Accept": accept})
    assert answer.headers["content-type"] == expected


@pytest.mark.parametrize(
    ("limits", "body", "expected"),
    [
        ({}, {"text": ""}, (422, "validation")),
        ({}, {"stream": "yes"}, (422, "validation")),
        ({"max_text_chars": 1}, {}, (413, "too-large")),
        ({"monthly_units": 1}, {}, (402, "quota-exhausted")),
        ({}, {"upstreams": ["nobody"]}, (422, "unknown-upstream")),
        ({}, {"on_disconnect": "continue"}, (422, "validation")),
    ],
)
async def test_a_refusal_is_a_plain_problem_with_its_status(product: Product, limits, body, expected):
    tenant = await product.tenant(**limits)
    await tenant.upstream(product.zoo.url("ok"))
    asked = {"text": "ab", "split": {"size": 1}, "stream": True, **body}
    answer = await tenant.http.post("/v1/process", json=asked, headers={"Accept": EVENTS})
    assert (answer.status_code, answer.json()["code"]) == expected
    assert answer.headers["content-type"] == "application/problem+json"
    assert product.zoo.requests.total() == 0


async def test_the_tutorials_stream_is_a_stream_unless_it_is_not_wanted(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    body = {"text": "a text of ten"}
    assert parse_whole((await tenant.http.post("/stream/", json=body)).content).answer["total"] == 1
    plain = await tenant.http.post("/stream/", json={**body, "stream": False})
    assert (plain.headers["content-type"], plain.json()["total"]) == (JSON, 1)
    assert (await tenant.http.post("/stream/", json={"text": "short"})).status_code == 422
    assert (await product.http().post("/stream/", json=body)).status_code == 401
    tutorial = await streamed(tenant, "a text of ten", "/process/")
    assert tutorial.answer["status"] == "succeeded"


async def test_a_large_event_is_one_line_whatever_is_in_it(product: Product):
    tenant = await product.tenant()
    unit = "折\u2028叠\u2029\x85\r\n🎏"
    await tenant.upstream(product.zoo.url("ok"), response_path="echo")
    text = unit * 40_000
    stream = await streamed(tenant, text, split={"size": 100_000}, fold={"by": "concat", "separator": ""})
    assert stream.answer["output"] == text


async def test_a_quote_takes_the_same_body(product: Product):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    quote: httpx.Response = await tenant.http.post("/v1/process/quote", json={"text": "a", "stream": True})
    assert quote.json()["units_max"] == 1
