"""One streamed call of an adapter, whose upstream's answer is given in pieces."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from pydantic import SecretStr

from fanfold.fanout.adapters.base import AdapterAnswer, StreamingAdapter
from fanfold.fanout.adapters.registry import ADAPTERS
from fanfold.fanout.telling import Telling
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamStream
from fanfold.fanout.types import Prompt, Upstream
from tests.token_streams import STREAMS

CREDENTIAL = "sk-secret"
MAX_BYTES = 100_000


class Pieces:
    """A body in pieces, which notes how far it was read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.read = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            self.read += len(piece)
            return piece
        raise StopAsyncIteration


class Wire:
    """Answers a body in pieces, and keeps what it was sent."""

    def __init__(self, *pieces: bytes, content_type: str | None) -> None:
        self.sent: list[UpstreamRequest] = []
        self.body = Pieces(pieces)
        self._headers = {"content-type": content_type} if content_type else {}

    @asynccontextmanager
    async def listen(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        self.sent.append(request)
        yield UpstreamStream(200, self._headers, self.body, MAX_BYTES)


async def ask(kind: str, wire: Wire, told: list[str]) -> AdapterAnswer:
    one = ADAPTERS[kind]
    assert isinstance(one, StreamingAdapter)
    upstream = Upstream(
        kind=kind,
        url="https://api.test/v1",
        model="m",
        options={"max_tokens": 9},
        credential=SecretStr(CREDENTIAL),
    )
    return await one.stream(
        upstream, Prompt("你好", 0, 1), wire.listen, Telling(told.append, max_bytes=MAX_BYTES)
    )


async def stream(kind: str, *pieces: bytes, content_type: str | None = "") -> tuple[AdapterAnswer, list[str]]:
    told: list[str] = []
    wire = Wire(*pieces, content_type=STREAMS[kind].media_type if content_type == "" else content_type)
    return await ask(kind, wire, told), told
