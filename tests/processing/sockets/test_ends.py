"""How a socket ends that its client does not: the credential ends, the tenant is suspended, the server stops."""

import asyncio
import time

import pytest
from sqlalchemy import text

from fanfold.auth.watch import EVERY_S
from tests.fixtures.sockets import served


@pytest.fixture
async def tenant(product):
    made = await product.tenant()
    for path in ("ok", "hang"):
        await made.upstream(product.zoo.url(path, tag=made.slug), slug=path)
    return made


async def begun(client):
    """Begin a request that has one answer, and waits for another for ever."""
    await client.process("a", "ab", split={"size": 1}, upstreams=["ok", "hang"])
    await client.until("chunk")


async def revoke(product, tenant):
    listed = (await tenant.http.get("/v1/api-keys")).json()["data"]
    other = product.http(await product.key(tenant.id, ["keys:write"]))
    for each in listed:
        assert (await other.delete(f"/v1/api-keys/{each['id']}")).status_code == 204


async def suspend(product, tenant):
    url = f"/v1/admin/tenants/{tenant.id}/suspend"
    assert (await (await product.operator()).post(url, json={"reason": "a test"})).is_success


async def expire(product, tenant):
    async with product.app.state.database.session(tenant.id) as session, session.begin():
        await session.execute(text("update fanfold.api_keys set expires_at = now()"))


async def billed(product, tenant, units):
    """Whether the tenant has paid so much, in the ledger's own books."""
    query = text("select sum(used), sum(reserved) from fanfold.quota_periods where tenant_id = :tenant_id")
    async with asyncio.timeout(30):
        while True:
            async with product.app.state.database.session(tenant.id) as session:
                found = (await session.execute(query, {"tenant_id": tenant.id})).one()
            if tuple(found) == (units, 0):
                return True
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("end", [revoke, expire, suspend])
@pytest.mark.parametrize("by_frame", [False, True])
async def test_the_socket_is_closed_and_what_was_done_is_billed(
    product, tenant, sockets, figures, end, by_frame
):
    async with sockets.open(key=None if by_frame else tenant.key) as client:
        if by_frame:
            await client.send(type="auth", token=tenant.key)
        await begun(client)
        await end(product, tenant)
        ended_at = time.monotonic()
        closed, reason = await client.closed()
        figures(f"{end.__name__}: closed after {time.monotonic() - ended_at:.2f} s")
    assert closed == (4403 if end is suspend else 4401)
    assert reason
    assert await billed(product, tenant, 1)
    assert product.zoo.served_by_tag[tenant.slug] == 1


async def test_what_would_go_on_without_its_client_ends_with_the_credential(product, tenant, sockets):
    patience = {"timeout_s": 60, "deadline_s": 60}  # more than `billed` has
    slugs = ["ok", (await tenant.upstream(product.zoo.url("hang"), timeout_s=60))["slug"]]
    request = {
        "text": "ab",
        "split": {"size": 1},
        "upstreams": slugs,
        "on_disconnect": "continue",
        **patience,
    }
    async with sockets.open(key=tenant.key) as client:
        await client.send(type="process", ref="a", idempotency_key=tenant.slug, request=request)
        await client.until("chunk")
        await revoke(product, tenant)
        assert (await client.closed())[0] == 4401
    assert await billed(product, tenant, 1)


async def test_an_access_token_that_expires_ends_the_socket(product, tenant, sockets):
    person = await product.signed_in(tenant)
    authenticator = product.app.state.token_authenticator
    now, authenticator._now = authenticator._now, lambda: now() + 3600
    try:
        async with sockets.open(key=person.tokens["access_token"]) as client:
            assert (await client.closed())[0] == 4401
        authenticator._now = now
        async with sockets.open(key=person.tokens["access_token"]) as client:
            await begun(client)
            authenticator._now = lambda: now() + 3600
            assert (await client.closed())[0] == 4401
    finally:
        authenticator._now = now
    assert await billed(product, tenant, 1)


async def test_who_signs_out_ends_the_sockets_of_that_sign_in(product, tenant, sockets):
    person = await product.signed_in(tenant)
    async with sockets.open(key=person.tokens["access_token"]) as client:
        assert (await person.http.post("/v1/auth/logout")).is_success
        assert (await client.closed())[0] == 4401


async def test_sockets_of_other_credentials_stay(product, tenant, sockets):
    other = await product.tenant()
    await other.upstream(product.zoo.url("ok"), is_default=True)
    async with sockets.open(key=other.key) as kept, sockets.open(key=tenant.key) as client:
        await revoke(product, tenant)
        await client.closed()
        await asyncio.sleep(2 * EVERY_S)
        await kept.process("a", "x")
        assert (await kept.last("a"))["type"] == "done"


async def test_new_limits_hold_on_a_socket_that_was_open_before(product, tenant, sockets):
    operator = await product.operator()
    async with sockets.open(key=tenant.key) as client:
        url = f"/v1/admin/tenants/{tenant.id}/limits"
        assert (await operator.patch(url, json={"max_text_chars": 2})).is_success
        async with asyncio.timeout(30):
            number = 0
            while True:
                number += 1
                await client.process(str(number), "abc", upstreams=["ok"])
                if (last := await client.last(str(number)))["type"] == "error":
                    break
                await asyncio.sleep(0.1)
    assert last["data"]["code"] == "too-large"


class TestDrain:
    async def test_an_idle_socket_is_closed_at_once_and_a_busy_one_when_it_has_answered(self, own_product):
        tenant = await own_product.tenant()
        await tenant.upstream(own_product.zoo.url("held"), is_default=True)
        async with (
            served(own_product.app) as sockets,
            sockets.open(key=tenant.key) as idle,
            sockets.open(key=tenant.key) as busy,
        ):
            await busy.process("a", "x")
            await busy.until("accepted")
            own_product.app.state.drain.begun.set()
            assert (await idle.closed())[0] == 1013
            await busy.process("b", "y")
            answers = [await busy.last()]
            own_product.zoo.lets_go.set()
            answers += [await busy.last()]
            assert [(each["ref"], each["type"]) for each in answers] == [("b", "error"), ("a", "done")]
            assert answers[0]["data"]["code"] == "draining"
            code, reason = await busy.closed()
            assert (code, "Connect again" in reason) == (1013, True)

    async def test_what_is_cut_off_is_billed_and_the_client_told(self, own_product):
        tenant = await own_product.tenant()
        slugs = [(await tenant.upstream(own_product.zoo.url(path)))["slug"] for path in ("ok", "hang")]
        async with served(own_product.app) as sockets:
            async with sockets.open(key=tenant.key) as client:
                await client.process("a", "ab", split={"size": 1}, upstreams=slugs)
                await client.until("chunk")
                own_product.app.state.drain.begun.set()
                own_product.app.state.drain.refuses = True
                assert own_product.app.state.drain.cut_off() == 1
                assert (await client.closed())[0] == 1013
            async with sockets.open(key=tenant.key) as late:
                assert (await late.closed())[0] == 1013
        assert await billed(own_product, tenant, 1)
