"""Keys over a socket are those of HTTP: a request that lost its socket is answered by repeating it, either way."""

import asyncio

import pytest

from tests.fixtures.sockets import served


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    await made.upstream(product.zoo.url("ok", tag=made.slug), is_default=True)
    return made


async def send(client, ref, key, **request):
    await client.send(type="process", ref=ref, request=request, idempotency_key=key)


def of(frames, kind):
    return [frame["data"] for frame in frames if frame["type"] == kind]


async def by_http(tenant, key, **body):
    """Repeat the request by HTTP until it is no longer running."""
    async with asyncio.timeout(30):
        while True:
            answer = await tenant.http.post("/v1/process", json=body, headers={"Idempotency-Key": key})
            if answer.status_code != 409:
                return answer
            await asyncio.sleep(0.02)


async def test_a_repeated_key_is_answered_again_and_billed_once(product, tenant, sockets):
    request = {"text": "一二三", "split": {"size": 1}}
    async with sockets.open(key=tenant.key) as client:
        await send(client, "a", "key 1", **request)
        first = await client.until("done", "error")
        await send(client, "b", "key 1", **request)
        again = await client.until("done", "error")
    by_index = sorted(of(first, "chunk"), key=lambda chunk: chunk["index"])
    assert of(again, "chunk") == by_index
    assert of(again, "done") == of(first, "done")
    assert {frame["ref"] for frame in again} == {"b"}
    assert product.zoo.served_by_tag[tenant.slug] == 3 == (await tenant.usage())["used"]


async def test_by_http_it_is_the_same_key(product, tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await send(client, "a", "key 2", text="好", stream=True)
        done = of(await client.until("done", "error"), "done")[0]
        answer = await by_http(tenant, "key 2", text="好")
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert (answer.json()["id"], answer.json()["usage"]) == (done["id"], done["usage"])
        await by_http(tenant, "key 3", text="早")
        await send(client, "b", "key 3", text="早")
        assert (await client.until("done", "error"))[-1]["type"] == "done"
    assert product.zoo.served_by_tag[tenant.slug] == 2


async def test_another_request_under_the_key_is_refused_and_so_is_one_while_it_runs(product, tenant, sockets):
    slow = (await tenant.upstream(product.zoo.url("held")))["slug"]
    async with sockets.open(key=tenant.key) as client:
        await send(client, "a", "k", text="x", upstreams=[slow])
        await client.until("accepted")
        await send(client, "b", "k", text="x", upstreams=[slow])
        assert (await client.last("b"))["data"]["code"] == "idempotency-in-progress"
        product.zoo.lets_go.set()
        await client.last("a")
        await send(client, "c", "k", text="y")
        assert (await client.last("c"))["data"]["code"] == "idempotency-mismatch"


async def test_continue_goes_on_without_the_client_and_the_key_has_the_answer(product, tenant, sockets):
    slow = (await tenant.upstream(product.zoo.url("held")))["slug"]
    request = {"text": "ab", "split": {"size": 1}, "upstreams": [slow], "on_disconnect": "continue"}
    async with sockets.open(key=tenant.key) as client:
        await send(client, "a", "goes on", **request)
        await client.process("b", "x" * 3, split={"size": 1}, upstreams=[slow])
        for _ in "ab":  # in either order: a key is looked up first
            await client.until("accepted")
    async with asyncio.timeout(30):
        while (await tenant.usage())["reserved"] != 2:  # the one without a key has ended with its client
            await asyncio.sleep(0.02)
    product.zoo.lets_go.set()
    replay = await by_http(tenant, "goes on", **request)
    answer = replay.json()
    assert replay.headers["Idempotent-Replayed"] == "true"  # it was not carried out anew
    assert (answer["status"], answer["usage"]["units"]) == ("succeeded", 2)
    usage = await tenant.usage()
    assert (usage["used"], usage["reserved"]) == (2, 0)


async def test_what_goes_on_ends_with_the_server(own_product):
    tenant = await own_product.tenant()
    hang = (await tenant.upstream(own_product.zoo.url("hang")))["slug"]
    async with served(own_product.app) as sockets:
        async with sockets.open(key=tenant.key) as client:
            await send(client, "a", "k", text="x", upstreams=[hang], on_disconnect="continue")
            await client.until("accepted")
        drain = own_product.app.state.drain
        drain.begun.set()
        assert drain.running == 1
        drain.cut_off()
        async with asyncio.timeout(30):
            while drain.running:
                await asyncio.sleep(0.02)
    usage = await tenant.usage()
    assert (usage["used"], usage["reserved"]) == (0, 0)


async def test_continue_without_a_key_is_refused(tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await client.process("a", "x", on_disconnect="continue")
        refused = (await client.last("a"))["data"]
    assert refused["errors"][0]["loc"] == ["body", "request", "on_disconnect"]
    assert "idempotency_key" in refused["detail"]


@pytest.mark.parametrize("key", ["", "é", "k" * 256, "a\n", 7])
async def test_a_key_is_printable_ascii(tenant, sockets, key):
    async with sockets.open(key=tenant.key) as client:
        await send(client, "a", key, text="x")
        refused = (await client.last("a"))["data"]
    assert (refused["code"], refused["errors"][0]["loc"]) == ("validation", ["body", "idempotency_key"])
