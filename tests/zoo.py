"""The upstream zoo: a mock upstream with every behaviour by path, and its own count of what it served.

An answer is *served* only if Fanfold should accept and bill it, and only after it was written whole to a client
that was still there. In a test: `async with Zoo() as zoo: zoo.url("ok")`. As a process: `python -m tests.zoo --port 0`
prints its port. `GET /count` answers the counts; the query parameter `tag` groups them, `book` counts each chunk too.
"""

import argparse
import asyncio
import contextlib
import json
import random
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Self
from urllib.parse import urlencode

from tests.zoo_http import (
    Answer,
    Closed,
    Request,
    accepted,
    chat_completion,
    compressed_zeros,
    head,
    no_constant,
    read_request,
    refused,
    reset,
)

_HEAD_LIMIT = 256 * 1024
_HUGE = 3 * 1024 * 1024


class Zoo:
    """The server. `served` counts accepted answers by path and by tag, `requests` all requests by path."""

    def __init__(self, *, port: int = 0, ssl_context: ssl.SSLContext | None = None, seed: int = 1) -> None:
        self.port = port
        self.served: Counter[str] = Counter()
        self.served_by_tag: Counter[str] = Counter()
        self.served_chunks: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[str] = Counter()
        self.most_at_once_by_tag: Counter[str] = Counter()
        self._now_by_tag: Counter[str] = Counter()
        self.connections = 0
        self.is_mended = False
        self._first_asked: dict[str, float] = {}
        self._ssl = ssl_context
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_HEAD_LIMIT, backlog=4096, ssl=self._ssl
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._tasks)

    def url(self, path: str, *, host: str = "127.0.0.1", **query: Any) -> str:
        scheme = "https" if self._ssl else "http"
        asked = "?" + urlencode(query) if query else ""
        return f"{scheme}://{host}:{self.port}/{path}{asked}"

    def counts(self) -> dict[str, Any]:
        return {
            "served": self.served.total(),
            "paths": dict(self.served),
            "tags": dict(self.served_by_tag),
            "requests": dict(self.requests),
            "connections": self.connections,
            "open": self.open,
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await read_request(reader, writer)) is not None:
                await self._exchange(request)
                if request.headers.get("connection") == "close":
                    break
        except (
            OSError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            Closed,
            asyncio.CancelledError,
        ):
            pass  # the end of a connection is no error here, whoever ended it
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, request: Request) -> None:
        name = request.path.strip("/")
        self.requests[name] += 1
        if name == "count":
            request.writer.write(accepted(self.counts()).encoded())
            return
        behave = BEHAVIOURS.get(name)
        with self._at_once(request.query.get("tag", "")):
            answer = await behave(self, request) if behave else refused(404)
        if answer is not None:
            await self.write(request, answer.encoded(), served=answer.served)

    async def write(self, request: Request, data: bytes, *, served: bool) -> None:
        """Write an answer whole, and count it if it is one to accept and the client is there to read it."""
        if request.reader.at_eof() or request.writer.transport.is_closing():
            raise Closed
        request.writer.write(data)
        await request.writer.drain()
        if served:
            self.served[request.path.strip("/")] += 1
            tag = request.query.get("tag", "")
            self.served_by_tag[tag] += 1
            if "book" in request.query:
                self.served_chunks[tag, request.text] += 1

    @contextlib.contextmanager
    def _at_once(self, tag: str) -> Iterator[None]:
        self._now_by_tag[tag] += 1
        self.most_at_once_by_tag[tag] = max(self.most_at_once_by_tag[tag], self._now_by_tag[tag])
        try:
            yield
        finally:
            self._now_by_tag[tag] -= 1

    def times_seen(self, request: Request) -> int:
        """Count this request's chunk (by path, tag and text), from 1."""
        key = (request.path, request.query.get("tag", ""), request.text)
        self._seen[key] += 1
        return self._seen[key]

    def asked_for(self, request: Request) -> float:
        """Seconds since the first request of this path and tag."""
        now = asyncio.get_running_loop().time()
        key = f"{request.path} {request.query.get('tag', '')}"
        return now - self._first_asked.setdefault(key, now)

    def chance(self) -> float:
        return self._random.random()

    def choice(self, options: tuple[str, ...]) -> str:
        return self._random.choice(options)


# Behaviours. Each gets the zoo and the request and returns an answer; or writes by itself, and then returns `WRITTEN`
# (the connection goes on) or raises `Closed`.
WRITTEN = None


async def _ok(_zoo: Zoo, request: Request) -> Answer:
    """Echo the chunk; `bytes` pads the answer to that size."""
    answer = accepted({"echo": request.text})
    missing = int(request.number("bytes", 0)) - len(answer.body) - len(', "pad": ""')
    return accepted({"echo": request.text, "pad": "x" * missing}) if missing > 0 else answer


async def _slow(zoo: Zoo, request: Request) -> Answer:
    await asyncio.sleep(request.number("ms", 200) / 1000)
    return await _ok(zoo, request)


async def _hang(_zoo: Zoo, request: Request) -> Answer:
    await request.reader.read()
    raise Closed


async def _drip(zoo: Zoo, request: Request) -> Answer | None:
    """Write one byte of a good answer every `ms`."""
    data = (await _ok(zoo, request)).encoded()
    start, _, body = data.partition(b"\r\n\r\n")
    await zoo.write(request, start + b"\r\n\r\n", served=False)
    for byte in body[:-1]:
        await zoo.write(request, bytes([byte]), served=False)
        await asyncio.sleep(request.number("ms", 100) / 1000)
    await zoo.write(request, body[-1:], served=True)
    return WRITTEN


async def _chunked(zoo: Zoo, request: Request) -> Answer | None:
    """Answer with chunked transfer coding, in two chunks."""
    body = (await _ok(zoo, request)).body
    pieces = (body[:5], body[5:], b"")
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    await zoo.write(request, head("transfer-encoding: chunked") + framed, served=True)
    return WRITTEN


async def _429(zoo: Zoo, request: Request) -> Answer:
    """Refuse with Retry-After (`after` seconds) until the chunk is asked for the `succeed`-th time."""
    if zoo.times_seen(request) >= request.number("succeed", float("inf")):
        return await _ok(zoo, request)
    return refused(429, **{"retry-after": request.query.get("after", "0")})


async def _status(_zoo: Zoo, request: Request) -> Answer:
    """Refuse with the status `code`, and Retry-After where `after` is given."""
    after = {"retry-after": request.query["after"]} if "after" in request.query else {}
    return refused(int(request.number("code", 500)), **after)


async def _flaky(zoo: Zoo, request: Request) -> Answer:
    """Fail the first `fail` times a chunk is asked for, with 503."""
    failing = zoo.times_seen(request) <= request.number("fail", 1)
    return refused(503) if failing else await _ok(zoo, request)


async def _down(zoo: Zoo, request: Request) -> Answer:
    """Refuse with 503 for `seconds`, or until the zoo is mended; then answer."""
    for_s = request.number("seconds", 0.0 if zoo.is_mended else float("inf"))
    return refused(503) if zoo.asked_for(request) < for_s else await _ok(zoo, request)


async def _flapping(zoo: Zoo, request: Request) -> Answer:
    """Refuse `bad` requests for a chunk with 503, answer `good` of them, and so on."""
    bad, good = request.number("bad", 5), request.number("good", 5)
    return refused(503) if (zoo.times_seen(request) - 1) % (bad + good) < bad else await _ok(zoo, request)


async def _faults(zoo: Zoo, request: Request) -> Answer | None:
    """Fail `percent` of all requests in some way, after `ms`; answer the others."""
    await asyncio.sleep(request.number("ms", 0) / 1000)
    if zoo.chance() * 100 >= request.number("percent", 30):
        return await _ok(zoo, request)
    return await BEHAVIOURS[zoo.choice(("500", "503", "429", "garbage", "cut", "reset"))](zoo, request)


async def _garbage(_zoo: Zoo, _request: Request) -> Answer:
    return Answer(b'{"echo": "half')


async def _noise(zoo: Zoo, request: Request) -> Answer:
    """Speak something that is not HTTP."""
    await zoo.write(request, b"220 mail.example ESMTP\r\n\x00\xff\r\n\r\n", served=False)
    raise Closed


async def _wrong_type(_zoo: Zoo, _request: Request) -> Answer:
    return Answer(b"<html>Sign in</html>", content_type="text/html")


async def _huge(zoo: Zoo, request: Request) -> Answer | None:
    """Answer 3 MiB; with `chunked` without saying so before."""
    body = b'"' + b"x" * _HUGE + b'"'
    if "chunked" not in request.query:
        return Answer(body)
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    await zoo.write(request, head("transfer-encoding: chunked") + framed, served=False)
    return WRITTEN


async def _cut(zoo: Zoo, request: Request) -> Answer:
    """Close in the middle of the body."""
    await zoo.write(request, (await _ok(zoo, request)).encoded()[:-4], served=False)
    raise Closed


async def _reset(_zoo: Zoo, request: Request) -> Answer:
    """Reset the connection (RST) instead of answering."""
    reset(request.writer)
    raise Closed


async def _bomb(_zoo: Zoo, _request: Request) -> Answer:
    """Answer 16 MiB as 70 KiB of gzip that nobody asked for."""
    return Answer(compressed_zeros(), headers={"content-encoding": "gzip"})


async def _redirect(zoo: Zoo, request: Request) -> Answer:
    """Redirect to `to` with the status `code`; whoever follows to the default is counted there."""
    target = request.query.get("to", zoo.url("ok"))
    return Answer(status=int(request.number("code", 302)), headers={"location": target})


async def _204(_zoo: Zoo, _request: Request) -> Answer:
    return Answer(status=204)


async def _long(zoo: Zoo, request: Request) -> Answer:
    """Promise more than is sent, then close."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body) + 100}") + body, served=False)
    raise Closed


async def _short(zoo: Zoo, request: Request) -> Answer:
    """Send more than was promised."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body) - 3}") + body, served=False)
    raise Closed


async def _json(_zoo: Zoo, request: Request) -> Answer:
    """Answer `value` as it is; it counts as served if it is JSON."""
    value = request.query.get("value", "null")
    try:
        json.loads(value, parse_constant=no_constant)
    except ValueError:
        return Answer(value.encode())
    return Answer(value.encode(), served=True)


async def _headers(_zoo: Zoo, request: Request) -> Answer:
    """Answer what was asked, and try to set a cookie."""
    return accepted(
        {"method": request.method, "headers": dict(request.headers)}, **{"set-cookie": "a=b; Path=/"}
    )


async def _close(zoo: Zoo, request: Request) -> Answer:
    """Answer well, and close the connection after it."""
    body = (await _ok(zoo, request)).body
    await zoo.write(request, head(f"content-length: {len(body)}", "connection: close") + body, served=True)
    raise Closed


async def _leave(zoo: Zoo, request: Request) -> Answer:
    """Answer well, and close the connection after it without having said so."""
    await zoo.write(request, (await _ok(zoo, request)).encoded(), served=True)
    raise Closed


async def _chat(_zoo: Zoo, request: Request) -> Answer:
    """Answer as an OpenAI-compatible server does; a token is a word here."""
    return accepted(chat_completion(request))


def _with(code: int) -> "Behaviour":
    async def behave(_zoo: Zoo, _request: Request) -> Answer:
        return refused(code)

    return behave


Behaviour = Callable[[Zoo, Request], Awaitable[Answer | None]]
BEHAVIOURS: dict[str, Behaviour] = {
    "ok": _ok,
    "slow": _slow,
    "hang": _hang,
    "drip": _drip,
    "chunked": _chunked,
    "429": _429,
    "500": _with(500),
    "503": _with(503),
    "status": _status,
    "flaky": _flaky,
    "down": _down,
    "flapping": _flapping,
    "faults": _faults,
    "garbage": _garbage,
    "noise": _noise,
    "wrong-type": _wrong_type,
    "huge": _huge,
    "cut": _cut,
    "reset": _reset,
    "bomb": _bomb,
    "redirect": _redirect,
    "204": _204,
    "long": _long,
    "short": _short,
    "json": _json,
    "headers": _headers,
    "close": _close,
    "leave": _leave,
    "v1/chat/completions": _chat,
}


async def _main(port: int, lifetime_s: float) -> None:
    async with Zoo(port=port) as zoo:
        print(zoo.port, flush=True)
        await asyncio.sleep(lifetime_s)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="The upstream zoo: a mock upstream with many behaviours.")
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--lifetime", type=float, default=900.0, help="seconds until it ends by itself")
    options = arguments.parse_args()
    asyncio.run(_main(options.port, options.lifetime))
