"""POSTs that create: once for a key, whatever comes twice."""

import asyncio
import datetime as dt
import secrets

import httpx
import pytest

from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect

NAME = "钥匙 🔑"
WANTED = {"name": NAME, "scopes": ["process"]}


def new_key() -> dict[str, str]:
    return {"Idempotency-Key": secrets.token_hex(8)}


async def create(tenant: TenantClient, key: dict[str, str], **changes: object) -> httpx.Response:
    return await tenant.http.post("/v1/api-keys", json=WANTED | changes, headers=key)


async def names(tenant: TenantClient) -> list[str]:
    return [row["name"] for row in (await tenant.http.get("/v1/api-keys")).json()["data"]]


async def change(product: Product, statement: str, *arguments: object) -> None:
    connection = await connect(product.database.superuser_url)
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def test_the_first_answer_is_replayed_with_its_secret_and_nothing_is_made_twice(product: Product):
    tenant, key = await product.tenant(), new_key()
    first, second = await create(tenant, key), await create(tenant, key)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    for name in ("location", "cache-control", "content-type", "content-length"):
        assert second.headers[name] == first.headers[name]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert (await names(tenant)).count(NAME) == 1


async def test_without_a_key_or_with_another_each_request_is_its_own(product: Product):
    tenant = await product.tenant()
    for key in ({}, {}, new_key(), new_key()):
        assert "idempotent-replayed" not in (await create(tenant, key)).headers
    assert (await names(tenant)).count(NAME) == 4


async def test_another_body_is_a_422_and_makes_nothing(product: Product):
    tenant, key = await product.tenant(), new_key()
    await create(tenant, key)
    answer = await create(tenant, key, name="another")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")
    assert "another" not in await names(tenant)


async def test_the_same_body_written_otherwise_is_the_same_request(product: Product):
    tenant, key = await product.tenant(), new_key()
    json = {"content-type": "application/json"}
    first = await create(tenant, key)
    spaced = '{ "scopes":\n["process"], "name": "\\u94a5匙 \\ud83d\\udd11" }'
    second = await tenant.http.post("/v1/api-keys", content=spaced.encode(), headers=key | json)
    assert second.content == first.content


@pytest.mark.parametrize("key", [b"", b"x" * 256, "schlüssel".encode(), "钥匙".encode(), b"a\tb", b"a\x7f"])
async def test_a_malformed_key_is_a_422_that_says_where(product: Product, key: bytes):
    tenant = await product.tenant()
    answer = await tenant.http.post("/v1/api-keys", json=WANTED, headers=[(b"idempotency-key", key)])
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [["header", "Idempotency-Key"]]
    assert await names(tenant) == ["test"]


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "with spaces; and=signs, ~"])
async def test_keys_are_taken_as_they_are(product: Product, key: str):
    tenant = await product.tenant()
    first = await create(tenant, {"Idempotency-Key": key})
    second = await create(tenant, {"Idempotency-Key": key})
    assert (first.status_code, second.content) == (201, first.content)
    other = await create(tenant, {"Idempotency-Key": key.strip('"') + "2"})
    assert other.content != first.content


async def test_a_key_is_a_tenant_s_own(product: Product):
    key = new_key()
    one, two = await product.tenant(), await product.tenant()
    first, second = await create(one, key), await create(two, key, name="of two")
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["name"], second.json()["name"]) == (NAME, "of two")


async def test_a_key_is_a_route_s_own(product: Product):
    tenant, key = await product.tenant(), new_key()
    await create(tenant, key)
    upstream = {"slug": "one", "kind": "http_json", "url": "https://one.example/"}
    answer = await tenant.http.post("/v1/upstreams", json=upstream, headers=key)
    assert (answer.status_code, answer.json()["slug"]) == (201, "one")
    again = await tenant.http.post("/v1/upstreams", json=upstream, headers=key)
    assert (again.status_code, again.content) == (201, answer.content)


async def test_a_secret_is_replayed_to_the_credential_that_made_it_alone(product: Product):
    """Or else a key that may make keys would read, with the same words, one of scopes that it lacks."""
    tenant, key = await product.tenant(), new_key()
    await create(tenant, key, scopes=["process", "keys:write"])
    weak = product.http(await product.key(tenant.id, ["keys:write"]))
    answer = await weak.post("/v1/api-keys", json=WANTED | {"scopes": ["process", "keys:write"]}, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-mismatch")


async def test_a_refused_request_is_not_kept_and_may_succeed_later(product: Product):
    tenant, key = await product.tenant(max_api_keys=1), new_key()
    assert (await create(tenant, key)).json()["code"] == "conflict"
    assert (await create(tenant, key, name="")).status_code == 422
    await change(
        product,
        "update fanfold.tenants set limit_overrides = limit_overrides - 'max_api_keys' where id = $1",
        tenant.id,
    )
    await asyncio.sleep(1.1)  # limits are known for a second
    assert (await create(tenant, key)).status_code == 201


async def test_a_key_holds_for_a_day(product: Product):
    tenant, key = await product.tenant(), new_key()
    first = await create(tenant, key)
    older = "update fanfold.idempotency_keys set created_at = created_at - $2::interval where tenant_id = $1"

    await change(product, older, tenant.id, dt.timedelta(hours=23, minutes=59))
    assert (await create(tenant, key)).content == first.content
    await change(product, older, tenant.id, dt.timedelta(minutes=2))
    second = await create(tenant, key, name="next day")
    assert (second.status_code, second.json()["name"]) == (201, "next day")
    assert (await create(tenant, key, name="next day")).content == second.content
