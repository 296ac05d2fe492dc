"""The dangers on a request's way: a slot kept after its end, given back twice, or refused without a word."""

import asyncio
from typing import Any

import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from fanfold.ratelimit.concurrency.base import Holder, LimitReached
from fanfold.ratelimit.concurrency.middleware import ConcurrencyMiddleware

TENANT, KEY = Holder("tenant", "tenant:a", 2), Holder("key", "key:k", 1)
START = {"type": "http.response.start", "status": 200, "headers": []}
LAST = {"type": "http.response.body", "body": "完👩‍👩‍👧".encode()}


class Counting:
    """A limiter that keeps no table."""

    def __init__(self) -> None:
        self.running = 0

    async def acquire(self, holders: tuple[Holder, ...]) -> None:
        if self.running >= min(holder.limit for holder in holders):
            raise LimitReached(min(holders, key=lambda holder: holder.limit))
        self.running += 1

    def release(self, holders: tuple[Holder, ...]) -> None:
        assert holders == (TENANT, KEY)
        self.running -= 1
        assert self.running >= 0, "given back twice"


class Exchange:
    """Requests to one application behind the middleware."""

    def __init__(self, app: Any, *holders: Holder) -> None:
        self.limiter, self.refused = Counting(), list[str]()
        self._app = ConcurrencyMiddleware(
            app,
            limiter_of=lambda _: self.limiter,  # type: ignore[arg-type,return-value]  # a fake
            holders_of=lambda _: holders,
            on_refusal=self.refused.append,
        )

    async def call(self, kind: str = "http", **scope: Any) -> list[Message]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("the middleware must not read the request")

        await self._app({"type": kind, "path": "/", "headers": [], "state": {}, **scope}, receive, send)
        return sent


async def test_a_slot_is_held_until_the_last_byte_is_sent_and_given_back_once():
    seen = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in (START, {**LAST, "more_body": True}, LAST):
            seen.append(exchange.limiter.running)
            await send(message)
        seen.append(exchange.limiter.running)

    exchange = Exchange(app, TENANT, KEY)
    assert await exchange.call() == [START, {**LAST, "more_body": True}, LAST]
    assert seen == [1, 1, 1, 0]
    assert exchange.limiter.running == 0


async def test_an_error_gives_it_back():
    async def app(*_: Any) -> None:
        raise ZeroDivisionError

    exchange = Exchange(app, TENANT, KEY)
    with pytest.raises(ZeroDivisionError):
        await exchange.call()
    assert exchange.limiter.running == 0


async def test_an_answer_that_never_ended_gives_it_back():
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({**LAST, "more_body": True})

    exchange = Exchange(app, TENANT, KEY)
    await exchange.call()
    assert exchange.limiter.running == 0


async def test_a_cancelled_request_gives_it_back():
    async def app(*_: Any) -> None:
        await asyncio.sleep(60)

    exchange = Exchange(app, TENANT, KEY)
    task = asyncio.create_task(exchange.call())
    await asyncio.sleep(0)
    assert exchange.limiter.running == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert exchange.limiter.running == 0


async def test_a_websocket_counts_for_as_long_as_it_lives():
    seen = []

    async def app(_: Scope, __: Receive, send: Send) -> None:
        for message in ({"type": "websocket.accept"}, {"type": "websocket.send", "text": "好"}):
            await send(message)
            seen.append(exchange.limiter.running)

    exchange = Exchange(app, TENANT, KEY)
    await exchange.call("websocket")
    assert seen == [1, 1]
    assert exchange.limiter.running == 0


async def _never(*_: Any) -> None:
    raise AssertionError("a refused request reaches nobody")


class TestRefusal:
    async def test_is_a_problem_that_says_whose_limit_and_when_to_come_again(self):
        exchange = Exchange(_never, TENANT, KEY)
        exchange.limiter.running = 1
        start, body = await exchange.call()
        shown = orjson.loads(body["body"])
        assert (start["status"], shown["code"], shown["status"]) == (429, "concurrency-exceeded", 429)
        assert dict(start["headers"])[b"retry-after"] == b"1"
        assert "At most 1 requests of this key" in shown["detail"]
        assert exchange.refused == ["key"]
        assert exchange.limiter.running == 1

    async def test_of_a_handshake_is_a_close_that_says_whose_limit(self):
        exchange = Exchange(_never, TENANT, KEY)
        exchange.limiter.running = 1
        (closed,) = await exchange.call("websocket", extensions={"websocket.http.response": {}})
        assert (closed["type"], closed["code"]) == ("websocket.close", 4429)
        assert "At most 1 WebSockets of this key" in closed["reason"]
        assert exchange.refused == ["key"]


@pytest.mark.parametrize(("kind", "holders"), [("http", ()), ("lifespan", (TENANT, KEY))])
async def test_what_has_no_holders_and_what_is_no_request_passes(kind: str, holders: tuple[Holder, ...]):
    async def app(_: Scope, __: Receive, send: Send) -> None:
        assert exchange.limiter.running == 0
        await send(LAST)

    exchange = Exchange(app, *holders)
    assert await exchange.call(kind) == [LAST]
