"""Who may open a WebSocket, and how the others are told: by close codes, which a page in a browser can read."""

import asyncio
from contextlib import AsyncExitStack, suppress

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from fanfold.api_keys.keys import issue
from fanfold.auth.buckets import STRANGER_BURST
from fanfold.auth.strangers import MOST_OF_ADDRESS

PATHS = ("/v1/process/ws",)


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    await made.upstream(product.zoo.url("ok"), is_default=True)
    return made


async def works(client):
    """Whether the socket answers a request."""
    await client.process("a", "好")
    return (await client.last("a"))["type"] == "done"


class TestCredential:
    @pytest.mark.parametrize("path", PATHS)
    async def test_in_a_header(self, tenant, sockets, path):
        for headers in ({"Authorization": f"Bearer {tenant.key}"}, {"X-API-Key": tenant.key}):
            async with sockets.open(path, additional_headers=headers) as client:
                assert client.raw.subprotocol is None
                assert await works(client)

    async def test_as_a_sub_protocol_which_is_chosen_as_browsers_demand(self, tenant, sockets):
        offered = f"bearer.{tenant.key}"
        async with sockets.open(subprotocols=[offered]) as client:
            assert client.raw.subprotocol == offered
            assert await works(client)

    async def test_as_a_sub_protocol_beside_one_that_is_no_secret_which_is_then_chosen(self, tenant, sockets):
        async with sockets.open(subprotocols=[f"bearer.{tenant.key}", "fanfold"]) as client:
            assert client.raw.subprotocol == "fanfold"
            assert await works(client)

    async def test_an_access_token_as_a_sub_protocol_from_a_page_of_ours(self, product, tenant, sockets):
        person = await product.signed_in(tenant)
        token = person.tokens["access_token"]
        async with sockets.open(
            subprotocols=[f"bearer.{token}"], origin=f"http://127.0.0.1:{sockets.port}"
        ) as client:
            assert await works(client)

    async def test_in_the_first_frame(self, tenant, sockets):
        async with sockets.open() as client:
            await client.send(type="auth", token=tenant.key)
            assert await works(client)

    async def test_in_the_first_frame_beside_a_sub_protocol(self, tenant, sockets):
        async with sockets.open(subprotocols=["fanfold"]) as client:
            assert client.raw.subprotocol == "fanfold"
            await client.send(type="auth", token=tenant.key)
            assert await works(client)


class TestRefusal:
    async def test_of_a_credential_that_does_not_hold_wherever_it_stands(self, sockets):
        key = issue().key.get_secret_value()
        for options in ({"key": key}, {"subprotocols": [f"bearer.{key}"]}, {"key": "nonsense"}):
            async with sockets.open(**options) as client:
                code, reason = await client.closed()
                assert (code, "does not hold" in reason) == (4401, True), options
                assert key not in reason

    @pytest.mark.parametrize(
        "frame",
        [
            '{"type":"auth","token":"wrong"}', '{"type":"auth","token":7}', '{"type":"auth"}', "not JSON", "[]",
            '{"type":"process","ref":"a","request":{"text":"x"}}', '{"type":"auth","token":"a","more":1}',
            '{"type":"auth","token":"' + "a" * 5000 + '"}', b"\x00\x01", '{"type":"auth","token":"a","token":"b"}',
            '{"type":"auth","token":"\\ud800"}', "",
        ],
    )  # fmt: skip
    async def test_of_a_first_frame_that_is_no_credential(self, sockets, frame):
        async with sockets.open() as client:
            await client.raw.send(frame)
            assert (await client.closed())[0] == 4401

    async def test_of_a_first_frame_with_more_in_it_though_its_token_holds(self, tenant, sockets):
        async with sockets.open() as client:
            await client.send(type="auth", token=tenant.key, scope="process")
            assert (await client.closed())[0] == 4401

    async def test_of_two_credentials_of_a_kind(self, tenant, sockets):
        offered = [f"bearer.{tenant.key}", f"bearer.{tenant.key}x"]
        async with sockets.open(subprotocols=offered) as client:
            assert (await client.closed())[0] == 4401

    async def test_of_a_credential_in_the_query_also_where_it_holds(self, tenant, sockets):
        for query in (f"?token={tenant.key}", f"?access_token={tenant.key}", "?anything"):
            async with sockets.open(f"/v1/process/ws{query}", key=tenant.key) as client:
                code, reason = await client.closed()
                assert (code, "query" in reason) == (4401, True)

    async def test_of_silence_after_five_seconds(self, sockets):
        async with sockets.open() as client:
            code, reason = await client.closed()
            assert (code, "within 5 s" in reason) == (4401, True)

    async def test_of_a_key_without_the_scope(self, product, tenant, sockets):
        key = await product.key(tenant.id, ["usage:read"])
        async with sockets.open(key=key) as client:
            assert await client.closed() == (4403, "This needs the scope process.")
        async with sockets.open() as client:
            await client.send(type="auth", token=key)
            assert (await client.closed())[0] == 4403

    async def test_of_a_suspended_tenant_and_of_an_operator(self, product, tenant, sockets):
        operator = await product.operator()
        key = operator.headers["Authorization"].removeprefix("Bearer ")
        async with sockets.open(key=key) as client:
            assert (await client.closed())[0] == 4403
        await operator.post(f"/v1/admin/tenants/{tenant.id}/suspend", json={"reason": "a test"})
        async with asyncio.timeout(30):
            while (await tenant.http.get("/v1/usage")).status_code != 403:
                await asyncio.sleep(0.05)
        async with sockets.open(key=tenant.key) as client:
            assert await client.closed() == (4403, "The tenant is suspended.")


class TestOrigin:
    async def test_of_another_site_is_refused_before_anything_is_accepted(self, tenant, sockets):
        for origin in (
            "https://evil.example",
            "null",
            f"http://127.0.0.1:{sockets.port + 1}",
            "http://localhost",
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with sockets.open(key=tenant.key, origin=origin):
                    pass
            assert refused.value.response.status_code == 403

    async def test_of_two_is_refused(self, tenant, sockets):
        own = f"http://127.0.0.1:{sockets.port}"
        headers = [("Origin", own), ("Origin", own), ("X-API-Key", tenant.key)]
        with pytest.raises(InvalidStatus):
            async with sockets.open(additional_headers=headers):
                pass


class TestLimits:
    async def test_a_handshake_counts_as_a_request_does(self, product, sockets):
        tenant = await product.tenant(requests_per_minute=1, burst=2)
        for _ in range(2):
            async with sockets.open(key=tenant.key):
                pass
        async with sockets.open(key=tenant.key) as client:
            code, reason = await client.closed()
            assert (code, "Too many requests" in reason) == (4429, True)
        async with sockets.open() as client:
            await client.send(type="auth", token=tenant.key)
            assert (await client.closed())[0] == 4429

    async def test_so_many_sockets_may_be_open_as_requests_may_run_and_they_are_no_requests(
        self, product, sockets
    ):
        tenant = await product.tenant(max_concurrent_requests=1)
        await tenant.upstream(product.zoo.url("ok"), is_default=True)
        async with sockets.open(key=tenant.key) as client:
            async with sockets.open(key=tenant.key) as another:
                code, reason = await another.closed()
                assert (code, "At most 1 WebSockets of this tenant" in reason) == (4429, True)
            assert await works(client)
            assert (await tenant.http.get("/v1/usage")).status_code == 200

    async def test_few_of_one_address_may_keep_silent_at_once(self, tenant, sockets):
        async with AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(sockets.open()) for _ in range(MOST_OF_ADDRESS)]
            async with sockets.open() as client:
                code, reason = await client.closed()
                assert (code, "wait for a credential" in reason) == (4429, True)
            async with sockets.open(key=tenant.key) as client:
                assert await works(client)
            await silent[0].send(type="auth", token=tenant.key)
            assert await works(silent[0])


async def test_strangers_are_limited_by_address(sockets):
    codes: list[int] = []
    async with asyncio.timeout(60):
        while codes[-1:] != [4429]:  # each second gives one more than the burst
            async with sockets.open() as client:
                with suppress(ConnectionClosed):
                    await client.send(type="auth", token="wrong")
                codes.append((await client.closed())[0])
    assert codes == [4401] * (len(codes) - 1) + [4429]
    assert len(codes) > STRANGER_BURST


async def test_no_path_of_ours_is_a_plain_403(tenant, sockets):
    with pytest.raises(InvalidStatus) as refused:
        async with sockets.open("/v1/nowhere", key=tenant.key):
            pass
    assert refused.value.response.status_code in {403, 404}
