"""What clients may send wrongly: each is answered, none ends the socket, but for too many in a row."""

import json

import pytest

from fanfold.processing.sockets.session import MAX_REFUSED
from tests.fixtures.app import product_settings, running_product
from tests.fixtures.sockets import served

BAD = {
    "not JSON": ("{", "malformed-request"),
    "no object": ("[]", "malformed-request"),
    "a member twice": ('{"type":"process","ref":"a","ref":"b"}', "malformed-request"),
    "NaN": ('{"type":"process","ref":"a","request":{"text":"x","deadline_s":NaN}}', "malformed-request"),
    "half a pair": ('{"type":"process","ref":"a","request":{"text":"\\ud800"}}', "malformed-request"),
    "NUL": ('{"type":"process","ref":"a","request":{"text":"\\u0000"}}', "malformed-request"),
    "too deep": ('{"type":' + "[" * 70 + "]" * 70 + "}", "malformed-request"),
    "binary": (b'{"type":"cancel"}', "malformed-request"),
    "no type": ("{}", "validation"),
    "unknown type": ('{"type":"subscribe","ref":"a"}', "validation"),
    "a type that is none": ('{"type":{}}', "validation"),
    "auth again": ('{"type":"auth","token":"x"}', "validation"),
    "no ref": ('{"type":"process","request":{"text":"x"}}', "validation"),
    "a ref too long": ('{"type":"process","ref":"' + "r" * 65 + '","request":{"text":"x"}}', "validation"),
    "no text": ('{"type":"process","ref":"a","request":{}}', "validation"),
    "unknown member": ('{"type":"process","ref":"a","request":{"text":"x"},"more":1}', "validation"),
    "unknown member within": ('{"type":"process","ref":"a","request":{"text":"x","more":1}}', "validation"),
    "a cancel of another kind": ('{"type":"cancel","ref":7}', "validation"),
}


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    await made.upstream(product.zoo.url("ok"), is_default=True)
    return made


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_frame_is_answered_and_the_socket_stays(tenant, sockets, name):
    sent, code = BAD[name]
    async with sockets.open(key=tenant.key) as client:
        await client.raw.send(sent)
        refused = await client.frame()
        assert (refused["type"], refused["data"]["code"]) == ("error", code)
        assert refused["data"]["status"] == (400 if code == "malformed-request" else 422)
        await client.process("b", "x")
        assert (await client.last("b"))["type"] == "done"


async def test_a_refusal_says_where_and_names_the_members_there_are(tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await client.send(type="process", ref="a", request={"text": "x", "split": {"size": 0}, "secret": 1})
        refused = await client.frame()
    assert refused["ref"] == "a"
    first, second = refused["data"]["errors"]
    assert first["loc"] == ["body", "request", "split", "size"]
    assert second["loc"] == ["body", "request", "*"]
    assert "Known here: api_urls, chunk_size" in second["msg"]
    assert "secret" not in json.dumps(refused)


@pytest.mark.parametrize("ref", ["", "r" * 65, "a\n", "\u202e"])
async def test_a_wrong_ref_is_told_what_a_ref_is(tenant, sockets, ref):
    async with sockets.open(key=tenant.key) as client:
        await client.send(type="process", ref=ref, request={"text": "x"})
        [error] = (await client.frame())["data"]["errors"]
    assert error["loc"] == ["body", "ref"]
    assert error["msg"] == "ref takes 1 to 64 characters, none of them a control character."


async def test_a_cancel_of_what_does_not_run_is_no_fault(tenant, sockets):
    async with sockets.open(key=tenant.key) as client:
        await client.send(type="cancel", ref="nobody")
        await client.process("a", "x")
        assert (await client.until("done"))[0]["type"] == "accepted"


@pytest.mark.parametrize(("sent", "code"), [("{", 1007), (b"\x00", 1003), ('{"type":"x"}', 1007)])
async def test_too_many_in_a_row_end_the_socket(tenant, sockets, sent, code):
    async with sockets.open(key=tenant.key) as client:
        for ref in "ab":  # one that is taken gives all patience back
            for _ in range(MAX_REFUSED - 1):
                await client.raw.send(sent)
            await client.process(ref, "x")
            assert (await client.until("done"))[-1]["ref"] == ref
        for _ in range(MAX_REFUSED):
            await client.raw.send(sent)
        assert (await client.closed())[0] == code


async def test_a_frame_over_the_limit_ends_the_socket(database_urls):
    settings = product_settings(database_urls)
    server = settings.server.model_copy(update={"max_body_bytes": 100_000})
    async with running_product(database_urls, settings.model_copy(update={"server": server})) as product:
        tenant = await product.tenant()
        await tenant.upstream(product.zoo.url("ok"), is_default=True)
        async with served(product.app) as sockets:
            for text, code in (("x" * 100_000, 1009), ("好" * 40_000, 1009)):
                async with sockets.open(key=tenant.key) as client:
                    await client.process("a", text)
                    assert (await client.closed())[0] == code
            async with sockets.open(key=tenant.key) as client:
                await client.process("a", "好" * 33_000, split={"size": 33_000})
                assert (await client.last("a"))["type"] == "done"


class TestLimits:
    async def test_each_message_counts_and_the_refusal_says_how_long_to_wait(self, product, sockets):
        tenant = await product.tenant(requests_per_minute=1, burst=2)
        async with sockets.open(key=tenant.key) as client:
            for ref in "ab":
                await client.process(ref, "x")
            answers = [await client.frame() for _ in range(2)]
        codes = {frame["ref"]: frame["data"]["code"] for frame in answers}
        assert codes == {"a": "unknown-upstream", "b": "rate-limited"}
        refused = next(frame["data"] for frame in answers if frame["ref"] == "b")
        assert refused["retry_after_s"] >= 1

    async def test_so_does_one_that_cannot_be_read(self, product, sockets):
        tenant = await product.tenant(requests_per_minute=1, burst=2)
        async with sockets.open(key=tenant.key) as client:
            codes = []
            for frame in ("no JSON", b"binary"):
                await client.raw.send(frame)
                codes.append((await client.frame())["data"]["code"])
        assert codes == ["malformed-request", "rate-limited"]

    async def test_who_goes_on_and_on_is_closed(self, product, sockets):
        tenant = await product.tenant(requests_per_minute=1, burst=1)
        async with sockets.open(key=tenant.key) as client:
            for number in range(MAX_REFUSED):
                await client.process(str(number), "x")
            assert (await client.closed())[0] == 4429

    async def test_a_cancel_is_heard_however_few_messages_are_left(self, product, sockets):
        tenant = await product.tenant(requests_per_minute=60, burst=4)
        await tenant.upstream(product.zoo.url("hang"), is_default=True)
        async with sockets.open(key=tenant.key) as client:
            await client.process("a", "x")
            await client.until("accepted")
            for _ in range(5):
                await client.send(type="cancel", ref="nobody")
            await client.send(type="cancel", ref="a")
            assert (await client.until("cancelled"))[-1]["ref"] == "a"

    async def test_each_running_request_counts_among_what_may_run_at_once(self, product, sockets):
        tenant = await product.tenant(max_concurrent_requests=2)
        await tenant.upstream(product.zoo.url("hang"), is_default=True)
        async with sockets.open(key=tenant.key) as client:
            for ref in "ab":
                await client.process(ref, "x")
                await client.until("accepted")
            await client.process("c", "x")
            refused = await client.last("c")
            assert (refused["type"], refused["data"]["code"]) == ("error", "concurrency-exceeded")
            assert refused["data"]["retry_after_s"] == 1
            assert (await tenant.http.get("/v1/usage")).status_code == 429
            await client.send(type="cancel", ref="a")
            await client.until("cancelled")
            assert (await tenant.http.get("/v1/usage")).status_code == 200
