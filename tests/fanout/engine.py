"""What the engine's tests share: a scripted transport, upstreams and requests, and a splitter of fixed width."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from fanfold.fanout.kinds import Kinds
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.base import (
    Progress,
    Transport,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamStream,
)
from fanfold.fanout.types import CallResult, FanOutRequest, Split, Upstream

Script = Callable[[UpstreamRequest], Awaitable[UpstreamResponse]]


def json_response(value: Any, *, status: int = 200) -> UpstreamResponse:
    return UpstreamResponse(status, {"content-type": "application/json"}, orjson.dumps(value))


def text_of(request: UpstreamRequest) -> str:
    """The chunk that `http_json` sent with its default template."""
    text: str = orjson.loads(request.body or b"")["text"]
    return text


async def echoing(request: UpstreamRequest) -> UpstreamResponse:
    await asyncio.sleep(0)
    return json_response({"echo": text_of(request)})


async def failing(_request: UpstreamRequest) -> UpstreamResponse:
    await asyncio.sleep(0)
    return json_response({}, status=400)


async def hanging(_request: UpstreamRequest) -> UpstreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("never answers")


class ScriptedTransport:
    """Answers by a script for each host, else by the default one; counts what is under way."""

    def __init__(self, default: Script = echoing, **by_host: Script) -> None:
        self.requests: list[UpstreamRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.most_tasks = 0
        self.closed = False
        self._default = default
        self._by_host = by_host

    def asked(self, host: str) -> int:
        return sum(request.url.startswith(f"https://{host}.") for request in self.requests)

    async def send(self, request: UpstreamRequest, *, max_bytes: int, progress: Progress) -> UpstreamResponse:
        del max_bytes, progress
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.most_tasks = max(self.most_tasks, len(asyncio.all_tasks()))
        host = request.url.removeprefix("https://").split(".")[0]
        try:
            return await self._by_host.get(host, self._default)(request)
        finally:
            self.in_flight -= 1

    @asynccontextmanager
    async def stream(
        self, request: UpstreamRequest, *, max_bytes: int, progress: Progress
    ) -> AsyncIterator[UpstreamStream]:
        response = await self.send(request, max_bytes=max_bytes, progress=progress)
        yield UpstreamStream(response.status, response.headers, _body(response), max_bytes)

    async def aclose(self) -> None:
        self.closed = True


async def _body(response: UpstreamResponse) -> AsyncIterator[bytes]:
    yield response.body


def by_code_points(text: str, split: Split) -> list[tuple[int, int]]:
    step = split.size - split.overlap
    return [(start, min(start + split.size, len(text))) for start in range(0, len(text), step)]


KINDS = Kinds(splitter=lambda _kind: by_code_points)


def fan_out(transport: Transport | None = None, **settings: Any) -> FanOut:
    return FanOut(transport=transport or ScriptedTransport(), **{"kinds": KINDS, **settings})


def upstream(host: str = "a", **fields: Any) -> Upstream:
    return Upstream(
        **{"kind": "http_json", "url": f"https://{host}.test/", "slug": host, "max_attempts": 1, **fields}
    )


def request(chunks: int = 10, *upstreams: Upstream, **fields: Any) -> FanOutRequest:
    """A request of so many chunks of one letter each, every one another where there are letters enough."""
    text = "".join(chr(0x4E00 + index % 20_000) for index in range(chunks))
    return FanOutRequest(
        **{"text": text, "upstreams": upstreams or (upstream(),), "split": Split(size=1), **fields}
    )


async def next_result(run: Run) -> CallResult:
    """The next that comes of a run, which tells no deltas."""
    item = await anext(run)
    assert isinstance(item, CallResult)
    return item
