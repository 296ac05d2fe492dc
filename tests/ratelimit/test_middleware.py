import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.ratelimit.base import Bucket, Decision, Exactness, Figures, RateLimitStore
from fanfold.ratelimit.errors import StoreUnavailable
from fanfold.ratelimit.middleware import BucketsOf, RateLimitMiddleware
from fanfold.ratelimit.stores.memory import MemoryStore
from tests.ratelimit.clock import Clock
from tests.ratelimit.fields import read_list

TENANT, KEY = Bucket("tenant", "a", 60, 3), Bucket("key", "k", 30, 2)


def scope_of(kind: str = "http") -> Scope:
    return {"type": kind, "method": "GET", "path": "/", "headers": [], "state": {}}


async def nothing_to_receive() -> Message:
    raise AssertionError("the middleware must not read the request")


async def answer(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": "好👩‍👩‍👧".encode()})


def _kept_in(store: RateLimitStore) -> Callable[[Scope], RateLimitStore]:
    return lambda _scope: store


def limited(app: ASGIApp, *buckets: Bucket, clock: Clock | None = None) -> RateLimitMiddleware:
    return RateLimitMiddleware(
        app, store_of=_kept_in(MemoryStore(clock=clock or Clock())), buckets_of=lambda _: tuple(buckets)
    )


async def call(app: ASGIApp, scope: Scope | None = None) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope or scope_of(), nothing_to_receive, send)
    return sent


def headers_of(start: Message) -> dict[bytes, bytes]:
    headers = dict(start["headers"])
    assert len(headers) == len(start["headers"]), "a header came twice"
    return headers


class CountingApp:
    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await answer(scope, receive, send)


class TestAdmitted:
    async def test_the_answer_gets_the_fields_and_stays_itself(self) -> None:
        start, body = await call(limited(answer, TENANT, KEY))
        assert headers_of(start) == {
            b"x-own": b"1",
            b"ratelimit-policy": b'"tenant";q=3;w=3, "key";q=2;w=4',
            b"ratelimit": b'"tenant";r=2;t=1, "key";r=1;t=2',
        }
        assert body == {"type": "http.response.body", "body": "好👩‍👩‍👧".encode()}

    async def test_the_apps_own_message_is_not_changed(self) -> None:
        message = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

        async def app(_: Scope, __: Receive, send: Send) -> None:
            await send(message)

        (start,) = await call(limited(app, TENANT))
        assert b"ratelimit" in headers_of(start)
        assert message == {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}

    async def test_a_start_without_headers_gets_them(self) -> None:
        async def app(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 204})

        (start,) = await call(limited(app, TENANT))
        assert set(headers_of(start)) == {b"ratelimit-policy", b"ratelimit"}

    async def test_fields_come_once_when_the_app_has_them_already(self) -> None:
        (start, _) = await call(limited(limited(answer, KEY), TENANT))
        assert headers_of(start)[b"ratelimit"] == b'"key";r=1;t=2'

    async def test_an_error_of_the_app_passes_and_its_token_is_spent(self) -> None:
        async def broken(_: Scope, __: Receive, ___: Send) -> None:
            raise ZeroDivisionError

        app = limited(broken, Bucket("tenant", "a", 60, 1))
        with pytest.raises(ZeroDivisionError):
            await call(app)
        assert (await call(app))[0]["status"] == 429

    async def test_an_error_after_the_start_passes_too(self) -> None:
        async def broken(scope: Scope, receive: Receive, send: Send) -> None:
            await answer(scope, receive, send)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await call(limited(broken, TENANT))


class TestRefused:
    async def test_is_a_problem_and_the_app_is_not_called(self) -> None:
        inner = CountingApp()
        app = limited(inner, Bucket("tenant", "a", 20, 1))
        await call(app)
        start, body = await call(app)
        assert inner.calls == 1
        assert start["status"] == 429
        headers = headers_of(start)
        assert headers[b"content-type"] == b"application/problem+json"
        assert headers[b"retry-after"] == b"3"
        assert headers[b"ratelimit-policy"] == b'"tenant";q=1;w=3'
        assert headers[b"ratelimit"] == b'"tenant";r=0;t=3'
        problem = json.loads(body["body"])
        assert (problem["code"], problem["status"]) == ("rate-limited", 429)
        assert "Wait 3 seconds" in problem["detail"]
        assert len(body["body"]) < 4_096

    async def test_retry_after_is_the_t_of_the_bucket_that_refused(self) -> None:
        app = limited(answer, TENANT, KEY)
        answers = [await call(app) for _ in range(4)]
        assert [sent[0]["status"] for sent in answers] == [200, 200, 429, 429]
        headers = headers_of(answers[-1][0])
        tenant, key = read_list(headers[b"ratelimit"])
        assert tenant == ("tenant", {"r": 1, "t": 1})
        assert key == ("key", {"r": 0, "t": int(headers[b"retry-after"])})

    async def test_a_refusal_names_one_second_in_the_singular(self) -> None:
        app = limited(answer, Bucket("tenant", "a", 60, 1))
        await call(app)
        assert "Wait 1 second (" in json.loads((await call(app))[1]["body"])["detail"]

    async def test_after_the_wait_it_passes(self) -> None:
        clock = Clock()
        app = limited(answer, Bucket("tenant", "a", 20, 1), clock=clock)
        await call(app)
        wait = int(headers_of((await call(app))[0])[b"retry-after"])
        clock.forward(wait)
        assert (await call(app))[0]["status"] == 200

    @pytest.mark.parametrize("callers", [2, 7, 64])
    async def test_many_at_once_are_admitted_up_to_the_burst(self, callers: int) -> None:
        inner = CountingApp()
        app = limited(inner, Bucket("tenant", "a", 60, callers - 1), Bucket("key", "k", 60, callers))
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            tasks = [group.create_task(call(app)) for _ in range(callers)]
        statuses = [task.result()[0]["status"] for task in tasks]
        assert (statuses.count(200), statuses.count(429)) == (callers - 1, 1)
        assert inner.calls == callers - 1

    async def test_odd_names_make_no_broken_header(self) -> None:
        app = limited(answer, Bucket('租\r\n户"', "a", 60, 1))
        for expected in (200, 429):
            start = (await call(app))[0]
            assert start["status"] == expected
            ((name, _),) = read_list(headers_of(start)[b"ratelimit"])
            assert name == '%E7%A7%9F%0D%0A%E6%88%B7"'


class TestHandshakes:
    async def test_of_websockets_count_and_one_too_many_is_closed_before_anybody_hears_of_it(self) -> None:
        seen: list[Any] = []

        async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
            seen.append(True)
            await send({"type": "websocket.accept"})

        limited_app = limited(app, Bucket("tenant", "a", 60, 1))
        assert await call(limited_app, scope_of("websocket")) == [{"type": "websocket.accept"}]
        (closed,) = await call(limited_app, scope_of("websocket"))
        assert (closed["type"], closed["code"], seen) == ("websocket.close", 4429, [True])
        assert "Wait 1 second" in closed["reason"]


class TestNotLimited:
    async def test_no_bucket_means_no_limit_and_no_fields(self) -> None:
        app = limited(answer)
        for _ in range(100):
            start, _ = await call(app)
            assert headers_of(start) == {b"x-own": b"1"}

    async def test_other_scopes_pass_untouched(self) -> None:
        seen: list[Any] = []

        async def app(*args: Any) -> None:
            seen.append(args)

        def no_buckets(_: Scope) -> tuple[Bucket, ...]:
            raise AssertionError("asked for the buckets of a scope that has none")

        scope = scope_of("lifespan")
        middleware = RateLimitMiddleware(app, store_of=_kept_in(MemoryStore()), buckets_of=no_buckets)
        receive, send = nothing_to_receive, _refuse_to_send
        await middleware(scope, receive, send)
        assert seen == [(scope, receive, send)]


async def _refuse_to_send(_: Message) -> None:
    raise AssertionError("nothing was to be sent")


class UnavailableStore:
    async def take(self, buckets: Sequence[Bucket]) -> Decision:
        assert buckets
        raise StoreUnavailable

    def exactness(self, bucket: Bucket) -> Exactness:
        return Exactness(bucket.name, 0)

    def figures(self) -> Figures:
        return Figures()


class TestStoreUnavailable:
    async def test_requests_pass_and_are_counted(self) -> None:
        buckets_of: BucketsOf = lambda _: (TENANT,)  # noqa: E731 (typed once, for the test)
        middleware = RateLimitMiddleware(answer, store_of=_kept_in(UnavailableStore()), buckets_of=buckets_of)
        for count in range(1, 4):
            start, _ = await call(middleware)
            assert (start["status"], headers_of(start)) == (200, {b"x-own": b"1"})
            assert middleware.unlimited == count


class TestStreams:
    async def test_each_chunk_passes_before_the_next_is_made(self) -> None:
        arrived: asyncio.Queue[Message] = asyncio.Queue()
        go_on = asyncio.Event()

        async def stream(_: Scope, __: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for chunk in ("一", "二", "三"):
                await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
                await go_on.wait()
                go_on.clear()
            await send({"type": "http.response.body", "body": b""})

        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            group.create_task(limited(stream, TENANT)(scope_of(), nothing_to_receive, arrived.put))
            assert b"ratelimit" in headers_of(await arrived.get())
            for chunk in ("一", "二", "三"):
                assert await arrived.get() == {
                    "type": "http.response.body",
                    "body": chunk.encode(),
                    "more_body": True,
                }
                assert arrived.empty()
                go_on.set()
            assert await arrived.get() == {"type": "http.response.body", "body": b""}

    async def test_the_request_reaches_the_app_through_the_servers_own_receive(self) -> None:
        seen: list[Receive] = []

        async def app(_: Scope, receive: Receive, __: Send) -> None:
            seen.append(receive)

        await call(limited(app, TENANT))
        assert seen == [nothing_to_receive]
