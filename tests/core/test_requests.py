"""How a body is read: media type, size, time, JSON, in this order."""

import asyncio

import pytest

from fanfold.core.config import ServerSettings
from tests.fixtures.app import product_settings, running_product


async def post(tenant, content, **headers):
    return await tenant.http.post("/v1/process", content=content, headers=headers)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp", "json"]
)
async def test_another_media_type_is_a_415(product, media_type):
    tenant = await product.tenant()
    answer = await post(tenant, b'{"text": "a"}', **{"content-type": media_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


@pytest.mark.parametrize(
    "media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/a+json"]
)
async def test_json_is_taken_however_it_is_written(product, media_type):
    tenant = await product.tenant()
    await tenant.upstream(product.zoo.url("ok"))
    assert (await post(tenant, b'{"text": "a"}', **{"content-type": media_type})).status_code == 200


@pytest.fixture(scope="module")
async def small(database_urls):
    settings = product_settings(database_urls)
    server = ServerSettings(max_body_bytes=2048, body_timeout_s=1.0)
    async with running_product(database_urls, settings.model_copy(update={"server": server})) as product:
        yield product


async def test_a_body_over_the_limit_is_a_413_declared_or_not(small):
    tenant = await small.tenant()
    json = {"content-type": "application/json"}
    declared = await post(tenant, b"x" * 2049, **json)

    async def parts():
        for _ in range(100):
            yield b" " * 1024

    undeclared = await post(tenant, parts(), **json)
    assert (declared.status_code, undeclared.status_code) == (413, 413)
    assert declared.json()["code"] == "too-large"


async def test_a_body_that_does_not_come_is_given_up(small):
    tenant = await small.tenant()

    async def never():
        yield b'{"text": "a'
        await asyncio.Event().wait()

    answer = await asyncio.wait_for(post(tenant, never(), **{"content-type": "application/json"}), 30)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")


async def test_the_media_type_is_looked_at_before_the_size(small):
    tenant = await small.tenant()
    assert (await post(tenant, b"x" * 5000, **{"content-type": "text/plain"})).status_code == 415


@pytest.mark.parametrize("name", ["skip", "offset", "page", "limits", "Limit"])
async def test_an_unknown_query_parameter_is_told_what_is_known(product, name):
    tenant = await product.tenant()
    answer = await tenant.http.get("/v1/api-keys", params={name: "1"})
    assert answer.status_code == 422
    assert "cursor, limit" in answer.json()["detail"]
    assert ("cursor`" in answer.json()["detail"]) == (name in ("skip", "offset", "page"))
