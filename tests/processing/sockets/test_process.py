"""Process requests over one socket: several at once, each with its own answers and its own end."""

import asyncio

import pytest

TEXT = "一二三四五六七八👩‍👩‍👧九"


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    await made.upstream(product.zoo.url("ok", tag=made.slug), is_default=True)
    return made


async def test_the_answers_are_the_events_of_a_stream_under_the_ref(tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await client.process("甲", TEXT, split={"by": "characters", "size": 5}, fold={"by": "concat"})
        frames = await client.until("done", "error")
    assert [frame["type"] for frame in frames if frame["type"] != "progress"] == [
        "accepted", "chunk", "chunk", "done",
    ]  # fmt: skip
    assert {frame["ref"] for frame in frames} == {"甲"}
    accepted, done = frames[0]["data"], frames[-1]["data"]
    assert (accepted["total"], accepted["units_max"]) == (2, 2)
    assert done["id"] == accepted["id"]
    assert (done["status"], done["usage"]["units"]) == ("succeeded", 2)
    assert (await tenant.usage())["used"] == 2


async def test_several_run_at_once_and_a_fast_one_overtakes_a_slow_one(product, tenant, sockets):
    slow = await tenant.upstream(product.zoo.url("held"))
    async with sockets.open(key=tenant.key) as client:
        await client.process("slow", "慢", upstreams=[slow["slug"]])
        await client.process("fast", "快")
        first = await client.last()
        product.zoo.lets_go.set()
        ends = [first["ref"], (await client.last())["ref"]]
    assert ends == ["fast", "slow"]


async def test_a_cancelled_request_ends_and_what_was_done_is_billed(product, tenant, sockets):
    slow = await tenant.upstream(product.zoo.url("hang"))
    async with sockets.open(key=tenant.key) as client:
        slugs = [(await tenant.upstream(product.zoo.url("ok", tag="paid")))["slug"], slow["slug"]]
        await client.process("a", "ab", split={"size": 1}, upstreams=slugs)
        await client.until("chunk")
        await client.send(type="cancel", ref="a")
        assert (await client.last("a"))["type"] == "cancelled"
        usage = await tenant.usage()
        assert (usage["used"], usage["reserved"]) == (1, 0) == (product.zoo.served_by_tag["paid"], 0)
        await client.process("a", "the ref is free again")
        assert (await client.last("a"))["type"] == "done"


async def test_a_ref_in_use_is_refused_and_the_first_goes_on(product, tenant, sockets):
    slow = await tenant.upstream(product.zoo.url("held"))
    async with sockets.open(key=tenant.key) as client:
        await client.process("a", "x", upstreams=[slow["slug"]])
        await client.until("accepted")
        await client.process("a", "y")
        refused = await client.last("a")
        assert (refused["type"], refused["data"]["code"]) == ("error", "conflict")
        product.zoo.lets_go.set()
        assert (await client.last("a"))["type"] == "done"


async def test_a_refused_request_leaves_the_socket_open(tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await client.process("a", "x", upstreams=["nobody"])
        refused = (await client.last("a"))["data"]
        assert (refused["code"], refused["status"]) == ("unknown-upstream", 422)
        assert refused["instance"].startswith("urn:uuid:")
        await client.process("b", "x")
        assert (await client.last("b"))["type"] == "done"


async def test_a_client_that_leaves_ends_its_requests_and_pays_for_what_was_done(product, tenant, sockets):
    slugs = [(await tenant.upstream(product.zoo.url(path, tag="left")))["slug"] for path in ("ok", "hang")]
    patient = {"timeout_s": 200, "deadline_s": 200}  # by itself it would not end before the test
    async with sockets.open(key=tenant.key) as client:
        await client.process("a", "ab", split={"size": 1}, upstreams=slugs, **patient)
        await client.until("chunk")
    async with asyncio.timeout(30):
        while ((usage := await tenant.usage())["used"], usage["reserved"]) != (1, 0):
            await asyncio.sleep(0.02)
    assert product.zoo.served_by_tag["left"] == 1
