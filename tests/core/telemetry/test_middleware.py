import asyncio
import gc
import re
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import Overloaded
from fanfold.core.problems import install_problem_handlers
from fanfold.core.security_headers import SecurityHeadersMiddleware
from fanfold.core.telemetry.metrics import Metrics
from fanfold.core.telemetry.middleware import TelemetryMiddleware

CONNECT: Message = {"type": "websocket.connect"}
TENANT = uuid4()
SECRET = "hunter2hunter2"
TEXT = "机密文本 سري 👩‍👩‍👧"


things = APIRouter(prefix="/things")
plain = APIRouter()


@things.get("/{_thing_id}")
async def read(_thing_id: str, request: Request) -> dict[str, Any]:
    request.scope["state"]["principal"] = SimpleNamespace(tenant_id=TENANT, secret=SECRET)
    return {"request_id": request.state.request_id, "server_id": str(request.state.server_id)}


@things.post("/{_thing_id}/fail")
async def fail(_thing_id: str, request: Request) -> None:
    body = (await request.body()).decode()
    raise RuntimeError(body + request.headers["authorization"])


@plain.get("/busy")
async def busy() -> None:
    raise Overloaded("Full.", headers={"Retry-After": "1"})


@plain.get("/cut")
async def cut() -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError(SECRET)

    return StreamingResponse(body())


@plain.get("/timed")
async def timed(request: Request) -> Response:
    request.state.timings = {"split": 0.0021}
    return Response()


@plain.websocket("/ws/{_thing_id}")
async def ws(socket: WebSocket, _thing_id: str) -> None:
    await socket.accept()
    await socket.send_json({"request_id": socket.state.request_id})
    raise RuntimeError(SECRET)


def make_app(metrics: Metrics, *, debug: bool = False) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, debug=debug)
    app.add_middleware(TelemetryMiddleware, metrics=metrics)
    outer = APIRouter(prefix="/v1")
    outer.include_router(things)
    app.include_router(outer)
    app.include_router(plain)
    install_problem_handlers(app)
    return app


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(shared=False)


@pytest.fixture
async def client(metrics: Metrics) -> AsyncIterator[httpx.AsyncClient]:
    app = make_app(metrics)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as made:
        yield made


class TestIds:
    async def test_the_clients_id_is_kept_and_the_servers_is_its_own(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/v1/things/1", headers={"X-Request-ID": "a.B_c-9"})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == "a.B_c-9"
        assert UUID(answer.json()["server_id"]).version == 7

    @pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "ü", 'a"b', "a\tb", "汉"])
    async def test_another_shape_is_replaced_by_the_servers(
        self, client: httpx.AsyncClient, sent: str
    ) -> None:
        answer = await client.get("/v1/things/1", headers=[(b"X-Request-ID", sent.encode())])
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == answer.json()["server_id"]

    async def test_websockets_have_them_too(self, metrics: Metrics) -> None:
        sent = await call(make_app(metrics), "/ws/1", CONNECT, headers=[(b"x-request-id", b"w-1")])
        assert sent[1]["text"] == '{"request_id":"w-1"}'


class TestHeaders:
    @pytest.mark.parametrize("path", ["/v1/things/1", "/nothing", "/busy", "/v1/things/1/fail"])
    async def test_every_answer_has_them(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert len(answer.headers.get_list("x-request-id")) == 1
        assert re.fullmatch(r"\d+\.\d{4}", answer.headers["x-process-time"])
        assert re.fullmatch(r"app;dur=\d+\.\d\d", answer.headers["server-timing"])

    async def test_an_answer_to_an_error_keeps_its_own_headers(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/busy")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")

    async def test_named_timings_are_shown(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/timed")
        assert answer.headers["server-timing"].endswith(", split;dur=2.10")


class TestLastResort:
    async def test_a_fault_becomes_a_problem_with_the_id_and_nothing_else(
        self, client: httpx.AsyncClient, written: Any
    ) -> None:
        out = written()
        answer = await client.post(
            "/v1/things/1/fail", content=TEXT, headers={"Authorization": f"Bearer {SECRET}"}
        )
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        body = answer.json()
        assert body["code"] == "internal-error"
        assert set(body) == {"type", "title", "status", "detail", "instance", "code"}
        assert body["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
        assert "x-process-time" in answer.headers
        assert not any(word in answer.text for word in ("RuntimeError", "Traceback", SECRET, TEXT))
        failed, access = out.lines()
        assert failed["exception"]["type"] == "builtins.RuntimeError"
        assert any("test_middleware.py" in frame for frame in failed["exception"]["frames"])
        assert failed["route"] == access["route"] == "/v1/things/{_thing_id}/fail"
        assert failed["request_id"] == access["request_id"] == answer.headers["x-request-id"]
        assert (access["status"], access["level"]) == (500, "error")

    async def test_debug_mode_shows_no_traceback_either(self, metrics: Metrics) -> None:
        app = make_app(metrics, debug=True)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            answer = await client.post(
                "/v1/things/1/fail", headers={"Authorization": SECRET, "Accept": "text/html"}
            )
        assert answer.status_code == 500
        assert not any(word in answer.text for word in ("RuntimeError", "Traceback", SECRET))

    async def test_an_answer_that_has_begun_is_cut_off_not_completed(
        self, metrics: Metrics, written: Any
    ) -> None:
        out = written()
        sent = await call(make_app(metrics), "/cut")
        assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
        assert sent[-1]["more_body"] is True
        assert SECRET not in out.raw()
        assert [line["event"] for line in out.lines()] == ["A request failed.", "request"]

    async def test_an_app_that_answers_nothing_is_a_fault(self, metrics: Metrics) -> None:
        async def silent(_scope: Scope, _receive: Receive, _send: Send) -> None:
            return None

        sent = await call(TelemetryMiddleware(silent, metrics=metrics), "/")
        assert sent[0]["status"] == 500

    async def test_a_client_that_went_away_is_no_fault(self, metrics: Metrics, written: Any) -> None:
        async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
            assert (await receive())["type"] == "http.disconnect"
            raise ClientDisconnect

        out = written()
        sent = await call(TelemetryMiddleware(reads, metrics=metrics), "/", {"type": "http.disconnect"})
        assert sent == []
        (line,) = out.lines()
        assert (line["event"], line["status"], line["level"]) == ("request", 499, "info")

    async def test_cancellation_passes_through_and_is_logged(self, metrics: Metrics, written: Any) -> None:
        async def hangs(_scope: Scope, _receive: Receive, _send: Send) -> None:
            await asyncio.Event().wait()

        out = written()
        task = asyncio.create_task(call(TelemetryMiddleware(hangs, metrics=metrics), "/"))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [line["event"] for line in out.lines()] == ["request"]

    async def test_a_websocket_that_fails_is_closed_with_1011(self, metrics: Metrics, written: Any) -> None:
        out = written()
        sent = await call(make_app(metrics), "/ws/1", CONNECT, query_string=b"token=" + SECRET.encode())
        assert [m["type"] for m in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
        assert sent[-1]["code"] == 1011
        failed, access = out.lines()
        assert failed["event"] == "A request failed."
        assert (access["method"], access["route"], access["status"]) == ("WEBSOCKET", "/ws/{_thing_id}", 101)
        assert access["code"] == 1011
        assert SECRET not in out.raw()

    async def test_a_websocket_that_fails_before_it_is_accepted_is_refused(self, metrics: Metrics) -> None:
        async def fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
            raise RuntimeError(SECRET)

        assert await call(TelemetryMiddleware(fails, metrics=metrics), "/", CONNECT) == [
            {"type": "websocket.close", "code": 1011}
        ]


class TestAccessLine:
    @pytest.mark.parametrize(
        "secret", ["ff_live_0AbCdEf12345_Zk3vQ9wXyT7uRsPq_1a2B3c", "sk-proj-abcdefghijkl"]
    )
    async def test_an_id_that_is_a_secret_is_masked(
        self, client: httpx.AsyncClient, written: Any, secret: str
    ) -> None:
        out = written()
        await client.get("/v1/things/1", headers={"X-Request-ID": secret})
        (line,) = out.lines()
        assert line["request_id"] == "***"

    async def test_tells_template_status_duration_ids_and_tenant(
        self, client: httpx.AsyncClient, written: Any
    ) -> None:
        out = written()
        await client.get("/v1/things/abc?q=" + SECRET, headers={"X-Request-ID": "mine"})
        (line,) = out.lines()
        server_id = line.pop("server_id")
        assert UUID(server_id).version == 7
        assert line.pop("duration_ms") >= 0
        assert line.pop("time")
        assert line == {
            "level": "info", "logger": "fanfold.access", "event": "request", "request_id": "mine",
            "tenant_id": str(TENANT), "method": "GET", "route": "/v1/things/{_thing_id}", "status": 200,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("method", "path", "route", "status"),
        [
            ("GET", f"/nothing/{SECRET}", "(unmatched)", 404),
            ("DELETE", "/v1/things/abc", "/v1/things/{_thing_id}", 405),
            ("GET", "/busy", "/busy", 503),
        ],
    )
    async def test_never_the_raw_path(
        self, client: httpx.AsyncClient, written: Any, method: str, path: str, route: str, status: int
    ) -> None:
        out = written()
        await client.request(method, path)
        (line,) = out.lines()
        assert (line["route"], line["status"]) == (route, status)

    async def test_a_refusal_before_routing_may_name_the_route(self, metrics: Metrics, written: Any) -> None:
        async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
            scope["state"]["route"] = "/v1/process"
            await Response(status_code=401)(scope, receive, send)

        out = written()
        await call(TelemetryMiddleware(refuses, metrics=metrics), "/v1/process")
        (line,) = out.lines()
        assert line["route"] == "/v1/process"

    async def test_requests_at_the_same_time_keep_their_own_ids(
        self, client: httpx.AsyncClient, written: Any
    ) -> None:
        out = written()
        ids = [f"id-{n}" for n in range(30)]
        await asyncio.gather(*(client.get("/v1/things/1", headers={"X-Request-ID": each}) for each in ids))
        assert sorted(line["request_id"] for line in out.lines()) == sorted(ids)


async def test_canary_no_planted_secret_reaches_the_log(client: httpx.AsyncClient, written: Any) -> None:
    planted = {
        "key": "ff_live_0AbCdEf12345_Zk3vQ9wXyT7uRsPq_1a2B3c",
        "bearer": "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "cookie": "session-5f2c9d",
        "credential": "cred-77aa88bb",
        "query": "query-c0ffee",
        "path": "path-deadbeef",
        "text": TEXT,
    }
    out = written(log_level="DEBUG")
    headers = {
        "X-API-Key": planted["key"],
        "Authorization": f"Bearer {planted['bearer']}",
        "Cookie": planted["cookie"],
    }
    for path in ("/v1/things/", "/nothing/"):
        for suffix in ("", "/fail"):
            url = f"{path}{planted['path']}{suffix}?q={planted['query']}"
            body = planted["text"] + planted["credential"]
            await client.post(url, content=body, headers=headers)
            await client.get(url, headers=headers)
    raw = out.raw()
    assert raw.count('"event":"request"') == 8
    assert [name for name, secret in planted.items() if secret in raw] == []


async def call(app: ASGIApp, path: str, *received: Message, **scope: Any) -> list[Any]:
    """Call an app as a server would, and return what it sent."""
    messages = iter(received or ({"type": "http.request", "body": b"", "more_body": False},))
    sent: list[Any] = []

    async def receive() -> Message:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    kind = {"type": "websocket"} if received == (CONNECT,) else {"type": "http", "method": "GET"}
    full = {
        **kind, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [], "http_version": "1.1",
        "scheme": "http", "server": ("test", 80), "client": ("127.0.0.1", 1), **scope,
    }  # fmt: skip
    await app(full, receive, send)
    return sent


class _Way:
    """The server's end of an exchange: what it is sent goes nowhere."""

    async def send(self, _message: Message) -> None: ...

    async def receive(self) -> Message:
        return {"type": "websocket.connect"}


async def _answers(scope: Scope, _receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


async def _fails(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize("app", [_answers, _fails])
async def test_nothing_of_a_request_waits_for_the_collector(kind: str, app: ASGIApp) -> None:
    stack = SecurityHeadersMiddleware(TelemetryMiddleware(app, metrics=Metrics(shared=False)), https=False)
    gc.disable()
    try:
        way = _Way()
        left = weakref.ref(way)
        scope: Scope = {"type": kind, "method": "GET", "path": "/", "headers": [], "state": {}}
        await stack(scope, way.receive, way.send)
        del way
        assert left() is None
    finally:
        gc.enable()
