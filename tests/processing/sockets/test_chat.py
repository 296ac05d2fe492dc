"""Questions over passages: the steps as they happen, one message after another, billed as any request."""

import json

import pytest

PASSAGES = ["天气很好。", "配额在每个月的第一天重新开始。", "API 密钥只显示一次。"]


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    await made.upstream(product.zoo.url("ok", tag=made.slug), is_default=True)
    return made


def steps(frames):
    return {frame["data"]["name"]: frame["data"]["detail"] for frame in frames if frame["type"] == "step"}


async def test_the_steps_come_in_their_order_and_the_question_is_billed_once(product, tenant, sockets):
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        await client.send(type="message", text="配额什么时候重新开始？", passages=PASSAGES, collection=None)
        frames = await client.until("done", "error")
    assert [frame["type"] for frame in frames] == ["step"] * 4 + ["done"]
    told = steps(frames)
    assert list(told) == ["understand", "retrieve", "fan_out", "fold"]
    assert told["understand"] == {"characters": 11, "words": 10, "scripts": ["Han"]}
    assert told["retrieve"]["passages"] == 3
    assert told["retrieve"]["chosen"][0]["index"] == 1
    assert (told["fan_out"]["calls"], told["fan_out"]["units_max"]) == (1, 1)
    assert told["fold"] == {"answers": 1, "error": None}
    done = frames[-1]["data"]
    assert (done["status"], done["usage"]["units"], done["id"]) == ("succeeded", 1, told["fan_out"]["id"])
    assert PASSAGES[1] in done["output"]
    assert PASSAGES[0] not in done["output"]
    assert (await tenant.usage())["used"] == 1 == product.zoo.served_by_tag[tenant.slug]


async def test_without_passages_the_question_goes_as_it_is(tenant, sockets):
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        await client.send(type="message", text="好吗？👩‍👩‍👧", ref="甲")
        frames = await client.until("done", "error")
    assert {frame["ref"] for frame in frames} == {"甲"}
    assert steps(frames)["retrieve"] == {"passages": 0, "chosen": []}
    assert "Question:" not in frames[-1]["data"]["output"]
    assert "好吗？👩‍👩‍👧" in frames[-1]["data"]["output"]


async def test_a_chat_s_upstream_is_asked_and_its_words_are_the_output(product, tenant, sockets):
    url, key = product.zoo.url("v1"), {"credential": "sk-test"}
    await tenant.upstream(url, kind="openai", model="m", is_default=True, **key)
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        await client.send(type="message", text="Say it.")
        done = (await client.last())["data"]
    assert done["status"] == "succeeded", done
    assert isinstance(done["output"], str)


async def test_messages_are_answered_one_after_another_in_their_order(product, tenant, sockets):
    await tenant.upstream(product.zoo.url("slow", ms=50), is_default=True)
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        for ref in "abc":
            await client.send(type="message", text=ref, ref=ref)
        frames = [frame for _ in range(3) for frame in await client.until("done", "error")]
    assert [frame["ref"] for frame in frames] == ["a"] * 5 + ["b"] * 5 + ["c"] * 5


async def test_more_than_eight_may_not_wait(product, tenant, sockets):
    await tenant.upstream(product.zoo.url("hang"), is_default=True)
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        for number in range(10):
            await client.send(type="message", text="x", ref=str(number))
        refused = await client.last("9")
        assert (refused["type"], refused["data"]["code"]) == ("error", "concurrency-exceeded")
        await client.send(type="cancel")
        for _ in range(9):
            assert (await client.last())["type"] == "cancelled"
    usage = await tenant.usage()
    assert (usage["used"], usage["reserved"]) == (0, 0)


@pytest.mark.parametrize(
    ("members", "loc"),
    [
        ({"collection": "docs"}, ["body", "collection"]), ({"text": ""}, ["body", "text"]),
        ({"text": "x" * 20_001}, ["body", "text"]), ({"passages": [""]}, ["body", "passages", 0]),
        ({"passages": ["x"] * 201}, ["body", "passages"]), ({"passages": ["x" * 20_000] * 11}, ["body"]),
        ({"answers": "a"}, ["body", "*"]), ({"ref": ""}, ["body", "ref"]), ({"ref": "a\nb"}, ["body", "ref"]),
    ],
)  # fmt: skip
async def test_what_a_message_may_not_hold(tenant, sockets, members, loc):
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        await client.send(**{"type": "message", "text": "x", **members})
        refused = (await client.last())["data"]
    assert (refused["code"], refused["errors"][0]["loc"]) == ("validation", loc)


async def test_that_there_are_no_collections_is_said(tenant, sockets):
    async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
        await client.send(type="message", text="x", collection="docs")
        assert "passages" in (await client.last())["data"]["errors"][0]["msg"]


class TestAlias:
    @pytest.mark.parametrize("text", ["你好 👋", "{not a frame", '{"a": 1}', '["x"]', "7", "nul"])
    async def test_a_plain_frame_is_a_message(self, tenant, sockets, text):
        async with sockets.open("/chat/", key=tenant.key) as client:
            await client.raw.send(text)
            frames = await client.until("done", "error")
            assert list(steps(frames)) == ["understand", "retrieve", "fan_out", "fold"]
            assert json.dumps(text, ensure_ascii=False)[1:-1].replace("\\", "") in frames[-1]["data"][
                "output"
            ].replace("\\", "")

    async def test_a_frame_is_a_frame(self, tenant, sockets):
        async with sockets.open("/chat/") as client:
            await client.send(type="auth", token=tenant.key)
            await client.send(type="message", text="x", passages=["x"])
            assert steps(await client.until("done"))["retrieve"]["chosen"][0]["index"] == 0

    async def test_nul_and_nothing_are_refused(self, tenant, sockets):
        async with sockets.open("/chat/", key=tenant.key) as client:
            for text, code in (("a\x00b", "malformed-request"), ("", "validation")):
                await client.raw.send(text)
                assert (await client.last())["data"]["code"] == code

    async def test_elsewhere_a_plain_frame_is_no_message(self, tenant, sockets):
        async with sockets.open("/v1/chat/ws", key=tenant.key) as client:
            await client.raw.send("hello")
            assert (await client.last())["data"]["code"] == "malformed-request"
