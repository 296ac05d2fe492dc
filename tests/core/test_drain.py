"""The danger of a stop: an answer that invites one request more, a 500 for what was cut off, a request forgotten."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from fanfold.core.drain import Drain, DrainMiddleware


@pytest.fixture
def drain() -> Drain:
    return Drain()


class App:
    """Answers at once, or when it is told to; may begin its answer before."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.begun = asyncio.Event()
        self.starts_early = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.set()
        if scope["path"] == "/held":
            if self.starts_early:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await self.hold.wait()
        await PlainTextResponse("好")(scope, receive, send)


@pytest.fixture
def app() -> App:
    return App()


def client(app: App, drain: Drain) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(DrainMiddleware(app, drain=drain))
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_while_it_stops_answers_are_given_and_close_their_connection(app: App, drain: Drain):
    async with client(app, drain) as http:
        assert "connection" not in (await http.get("/")).headers
        drain.begun.set()
        answer = await http.get("/")
    assert (answer.status_code, answer.text, answer.headers["connection"]) == (200, "好", "close")


async def test_http_2_has_no_such_header(app: App, drain: Drain):
    drain.begun.set()
    sent = await exchange(
        app, drain, {"type": "http", "http_version": "2", "method": "GET", "path": "/", "headers": []}
    )
    assert (b"connection", b"close") not in sent[0]["headers"]


async def test_what_comes_too_late_is_told_so(app: App, drain: Drain):
    drain.begun.set()
    drain.refuses = True
    async with client(app, drain) as http:
        answer = await http.get("/")
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
    assert not app.begun.is_set()


async def test_what_is_cut_off_is_told_so_and_not_forgotten_before(app: App, drain: Drain):
    async with asyncio.timeout(20), client(app, drain) as http, asyncio.TaskGroup() as group:
        asked = group.create_task(http.get("/held"))
        await app.begun.wait()
        assert drain.running == 1
        drain.begun.set()
        assert drain.cut_off() == 1
        answer = await asked
    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert "billed" in answer.json()["detail"]
    assert drain.running == 0


async def test_an_answer_that_had_begun_is_cut_off_as_it_is(app: App, drain: Drain):
    app.starts_early = True
    task = asyncio.create_task(exchange(app, drain, http_scope("/held")))
    await app.begun.wait()
    drain.cut_off()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_by_somebody_else_stays_so(app: App, drain: Drain):
    task = asyncio.create_task(exchange(app, drain, http_scope("/held")))
    await app.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("refuses", [True, False])
async def test_websockets_are_told_to_try_again_later(app: App, drain: Drain, refuses: bool):
    drain.begun.set()
    drain.refuses = refuses
    task = asyncio.create_task(exchange(app, drain, {"type": "websocket", "path": "/held", "headers": []}))
    if not refuses:
        await app.begun.wait()
        drain.cut_off()
    (closed,) = await task
    assert (closed["type"], closed["code"]) == ("websocket.close", 1013)
    assert "server" in closed["reason"]


def http_scope(path: str) -> dict[str, Any]:
    return {"type": "http", "http_version": "1.1", "method": "GET", "path": path, "headers": []}


async def exchange(app: App, drain: Drain, scope: dict[str, Any]) -> list[Message]:
    """Return what was sent."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    await DrainMiddleware(app, drain=drain)(scope, receive, send)
    return sent
