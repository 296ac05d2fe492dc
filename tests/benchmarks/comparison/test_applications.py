"""What stands beside ours answers what ours answers, or the comparison says nothing."""

import json
from contextlib import AsyncExitStack

import httpx
import pytest
from starlette.types import ASGIApp

from benchmarks.comparison.applications import raw, shared_aiohttp, shared_httpx
from benchmarks.comparison.applications.alone import Alone
from benchmarks.comparison.endpoints import body
from benchmarks.naive import app as naive
from tests.fixtures.app import Product

CHUNKS = 3
VARYING = {"id", "usage", "results", "fold"}


def client(app: ASGIApp) -> httpx.AsyncClient:
    headers = {"content-type": "application/json"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://fanfold", headers=headers)


async def test_the_endpoint_alone_answers_as_the_product_does(product: Product):
    tenant = await product.tenant()
    url = product.zoo.url("ok")
    await tenant.upstream(url)
    asked = body(CHUNKS, url)
    ours = (
        await tenant.http.post("/v1/process", content=asked, headers={"content-type": "application/json"})
    ).json()
    alone = Alone()
    async with AsyncExitStack() as stack:
        await alone.open(stack)
        http = await stack.enter_async_context(client(alone))
        theirs = (
            await http.post("/v1/process", content=asked, headers={"content-type": "application/json"})
        ).json()
    assert theirs.keys() == ours.keys()
    assert [each.keys() for each in theirs["results"]] == [each.keys() for each in ours["results"]]
    assert {name: theirs[name] for name in ours.keys() - VARYING} == {
        name: ours[name] for name in ours.keys() - VARYING
    }
    assert theirs["successful"] == CHUNKS


@pytest.mark.parametrize(
    "app", [naive, shared_httpx.app, shared_aiohttp.app], ids=["naive", "httpx", "aiohttp"]
)
async def test_the_tutorials_endpoints_make_every_call(product: Product, app: ASGIApp):
    url = product.zoo.url("ok")
    async with AsyncExitStack() as stack:
        if lifespan := getattr(getattr(app, "router", None), "lifespan_context", None):
            await stack.enter_async_context(lifespan(app))
        http = await stack.enter_async_context(client(app))
        answer = await http.post("/process/", content=body(CHUNKS, url))
    assert (answer.json()["total"], answer.json()["successful"]) == (CHUNKS, CHUNKS)


async def test_the_raw_application_answers_what_health_does(product: Product):
    async with client(raw.app) as http:
        assert (await http.get("/healthz")).json() == (await product.stranger().get("/healthz")).json()


def test_every_request_has_as_many_chunks_as_it_says():
    asked = json.loads(body(10, "http://127.0.0.1:9/instant"))
    assert len(asked["text"]) == 10 * asked["chunk_size"]
