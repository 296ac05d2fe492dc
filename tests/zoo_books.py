"""What the zoo counts, and what its behaviours ask it for."""

import asyncio
import contextlib
import random
import ssl
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from tests.zoo_http import Closed, Request


class ZooBooks:
    """`served` counts accepted answers by path and by tag, `requests` all requests by path, `written_by_tag` bytes."""

    def __init__(self, *, port: int = 0, ssl_context: ssl.SSLContext | None = None, seed: int = 1) -> None:
        self.port = port
        self.leaving_port = 0
        self.served: Counter[str] = Counter()
        self.served_by_tag: Counter[str] = Counter()
        self.served_chunks: Counter[tuple[str, str]] = Counter()
        self.requests: Counter[str] = Counter()
        self.most_at_once_by_tag: Counter[str] = Counter()
        self.written_by_tag: Counter[str] = Counter()
        self.lets_go = asyncio.Event()
        self._mended = asyncio.Event()
        self._now_by_tag: Counter[str] = Counter()
        self._first_asked: dict[str, float] = {}
        self._ssl = ssl_context
        self._seen: Counter[tuple[str, str, str]] = Counter()
        self._random = random.Random(seed)

    @property
    def is_mended(self) -> bool:
        return self._mended.is_set()

    def mend(self) -> None:
        """Let what is down answer again, and what is slow at once, also those who wait for it now."""
        self._mended.set()

    async def pause(self, request: Request, default_ms: float = 0) -> None:
        """Wait for the request's `ms`, or until the zoo is mended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.number("ms", default_ms) / 1000):
                await self._mended.wait()

    def url(self, path: str, *, host: str = "127.0.0.1", **query: Any) -> str:
        """Return where `path` is asked; `leave`, whose connections end in the pool, apart from all others."""
        scheme = "https" if self._ssl else "http"
        port = self.leaving_port if path == "leave" else self.port
        asked = "?" + urlencode(query) if query else ""
        return f"{scheme}://{host}:{port}/{path}{asked}"

    async def write(self, request: Request, data: bytes, *, served: bool) -> None:
        """Write an answer whole, and count it if it is one to accept and the client is there to read it."""
        if request.reader.at_eof() or request.writer.transport.is_closing():
            raise Closed
        request.writer.write(data)
        await request.writer.drain()
        self.written_by_tag[request.query.get("tag", "")] += len(data)
        if served:
            self.served[request.path.strip("/")] += 1
            tag = request.query.get("tag", "")
            self.served_by_tag[tag] += 1
            if "book" in request.query:
                self.served_chunks[tag, request.text] += 1

    @contextlib.contextmanager
    def at_once(self, tag: str) -> Iterator[None]:
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
