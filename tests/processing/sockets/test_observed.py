"""What an operator sees of sockets: gauges, and one line of the access log with the close code, and no secret in it."""

import asyncio

import orjson
import pytest

from tests.fixtures.server_processes import ServerProcess
from tests.fixtures.sockets import Sockets, served


async def shown(product, name):
    metrics = (await (await product.operator()).get("/metrics")).text
    return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(f"{name} "))


async def test_open_sockets_and_those_of_strangers_are_counted(own_product):
    tenant = await own_product.tenant()
    async with served(own_product.app) as sockets, sockets.open(key=tenant.key), sockets.open():
        async with asyncio.timeout(30):
            while await shown(own_product, "fanfold_sockets_open") != 1:
                await asyncio.sleep(0.05)
            while await shown(own_product, "fanfold_sockets_of_strangers") != 1:
                await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        while await shown(own_product, "fanfold_sockets_open"):
            await asyncio.sleep(0.05)


async def test_refused_messages_are_counted_as_refused_requests_are(own_product):
    tenant = await own_product.tenant(requests_per_minute=1, burst=1)
    async with served(own_product.app) as sockets, sockets.open(key=tenant.key) as client:
        await client.process("a", "x")
        assert (await client.last("a"))["data"]["code"] == "rate-limited"
    metrics = (await (await own_product.operator()).get("/metrics")).text
    assert 'fanfold_rate_limited_total{bucket="tenant"} 1.0' in metrics


@pytest.fixture
def server(database_urls, tmp_path):
    process = ServerProcess(database_urls, tmp_path / "server.log").start().wait()
    yield process
    process.stop()


async def test_a_stop_closes_sockets_and_the_access_log_has_their_codes_and_no_credential(product, server):
    tenant = await product.tenant()
    sockets = Sockets(server.port)
    async with sockets.open(f"/v1/process/ws?token={tenant.key}") as client:
        assert (await client.closed())[0] == 4401
    async with sockets.open(subprotocols=[f"bearer.{tenant.key}"]):
        pass
    async with sockets.open() as client:
        await client.send(type="auth", token=tenant.key)
        await client.process("a", "x")
        await client.last("a")
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        assert (await client.closed())[0] == 1013
    assert await stopping == 0
    log = server.log.read_text()
    lines = [orjson.loads(line) for line in log.splitlines() if line.startswith("{")]
    codes = [line["code"] for line in lines if line.get("route") == "/v1/process/ws"]
    assert sorted(codes) == [1000, 1013, 4401]
    assert tenant.key.split("_")[3] not in log
