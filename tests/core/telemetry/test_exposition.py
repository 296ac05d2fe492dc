import asyncio
import socket
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Scope

from fanfold.core.problems import install_problem_handlers
from fanfold.core.telemetry.exposition import (
    MAX_CONNECTIONS,
    Exposition,
    is_local,
    metrics_router,
    serve_metrics,
)
from fanfold.core.telemetry.metrics import Metrics
from fanfold.core.telemetry.middleware import TelemetryMiddleware


@pytest.fixture
async def exposition() -> AsyncIterator[Exposition]:
    made = Exposition(Metrics(shared=False))
    yield made
    made.close()


def client_from(exposition: Exposition, address: str, *, operator: bool = False) -> httpx.AsyncClient:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    router = metrics_router(exposition, is_operator=lambda scope: scope["state"]["principal"].operator)
    router.put_into(app)
    install_problem_handlers(app)

    async def authenticated(scope: Scope, receive: Any, send: Any) -> None:
        scope["state"]["principal"] = SimpleNamespace(operator=operator)
        await app(scope, receive, send)

    outer = TelemetryMiddleware(authenticated, metrics=Metrics(shared=False))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(outer, client=(address, 1)), base_url="http://test"
    )


class TestMainPort:
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
    async def test_this_machine_may_read(self, exposition: Exposition, address: str) -> None:
        async with client_from(exposition, address) as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "fanfold_offload_running 0.0" in answer.text

    @pytest.mark.parametrize(
        "address", ["10.0.0.8", "192.168.1.2", "203.0.113.7", "2001:db8::1", "testclient"]
    )
    async def test_others_get_the_404_of_any_unknown_path(self, exposition: Exposition, address: str) -> None:
        async with client_from(exposition, address) as client:
            refused, unknown = await client.get("/metrics"), await client.get("/nothing")
        assert refused.status_code == 404
        assert refused.json() | {"instance": ""} == unknown.json() | {"instance": ""}

    @pytest.mark.parametrize(
        "header",
        ["Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "x-forwarded-host", "X-Real-IP", "Via"],
    )
    async def test_what_came_through_a_proxy_is_not_this_machine(
        self, exposition: Exposition, header: str
    ) -> None:
        async with client_from(exposition, "127.0.0.1") as client:
            assert (await client.get("/metrics", headers={header: ""})).status_code == 404

    async def test_an_operator_may_read_from_anywhere(self, exposition: Exposition) -> None:
        async with client_from(exposition, "203.0.113.7", operator=True) as client:
            assert (await client.get("/metrics", headers={"X-Forwarded-For": "1.2.3.4"})).status_code == 200

    def test_a_client_without_an_address_is_not_this_machine(self) -> None:
        assert not is_local({"client": None, "headers": []})


class TestOwnPort:
    async def test_everybody_may_read(self, exposition: Exposition) -> None:
        async with serve_metrics(exposition, host="127.0.0.1", port=0) as port, httpx.AsyncClient() as client:
            for path in ("/metrics", "/metrics?x=1"):
                answer = await client.get(
                    f"http://127.0.0.1:{port}{path}", headers={"X-Forwarded-For": "1.2.3.4"}
                )
                assert answer.status_code == 200
                assert "fanfold_processes 1.0" in answer.text

    async def test_nothing_else_is_there(self, exposition: Exposition) -> None:
        async with serve_metrics(exposition, host="127.0.0.1", port=0) as port, httpx.AsyncClient() as client:
            base = f"http://127.0.0.1:{port}"
            assert (await client.get(f"{base}/")).status_code == 404
            assert (await client.get(f"{base}/metricsx")).status_code == 404
            assert (await client.post(f"{base}/metrics")).status_code == 404

    async def test_several_workers_may_listen_on_it(self, exposition: Exposition) -> None:
        async with serve_metrics(exposition, host="127.0.0.1", port=0) as port:
            async with serve_metrics(exposition, host="127.0.0.1", port=port) as same:
                assert same == port
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{port}/metrics")).status_code == 200

    async def test_endless_heads_and_silent_clients_shut_nobody_out_for_long(
        self, exposition: Exposition
    ) -> None:
        async with serve_metrics(exposition, host="127.0.0.1", port=0) as port, asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 100_000)
            assert await read_all(reader) == b""
            writer.close()
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MAX_CONNECTIONS)]
            reader, refused = await asyncio.open_connection("127.0.0.1", port)
            assert await read_all(reader) == b""
            for _, writer in [*silent, (reader, refused)]:
                writer.close()
            async with httpx.AsyncClient() as client:
                while True:
                    try:
                        answer = await client.get(f"http://127.0.0.1:{port}/metrics")
                    except httpx.TransportError:  # the server has not seen all of them go yet
                        await asyncio.sleep(0.05)
                        continue
                    assert answer.status_code == 200
                    break

    async def test_ending_cuts_open_connections(self, exposition: Exposition) -> None:
        async with asyncio.timeout(20):
            async with serve_metrics(exposition, host="127.0.0.1", port=0) as port:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                await asyncio.sleep(0.05)
            assert await read_all(reader) == b""
            writer.close()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
