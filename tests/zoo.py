"""The upstream zoo: a mock upstream with every behaviour by path, and its own count of what it served.

An answer is *served* only if Fanfold should accept and bill it, and only after it was written whole to a client
that was still there. In a test: `async with Zoo() as zoo: zoo.url("ok")`. As a process: `python -m tests.zoo --port 0`
prints its port. `GET /count` answers the counts; the query parameter `tag` groups them, `book` counts each chunk too.
"""

import argparse
import asyncio
import ssl
from typing import Any, Self

from tests.zoo_behaviours import BEHAVIOURS
from tests.zoo_books import ZooBooks
from tests.zoo_http import Closed, Request, accepted, read_request, refused
from tests.zoo_streams import streaming

_HEAD_LIMIT = 256 * 1024


class Zoo(ZooBooks):
    """The server, and its books."""

    def __init__(self, *, port: int = 0, ssl_context: ssl.SSLContext | None = None, seed: int = 1) -> None:
        super().__init__(port=port, ssl_context=ssl_context, seed=seed)
        self.connections = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        self.port = await self._listen(self.port)
        self.leaving_port = await self._listen(0)
        return self

    async def _listen(self, port: int) -> int:
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=_HEAD_LIMIT, backlog=4096, ssl=self._ssl
        )
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def __aexit__(self, *exc: object) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._tasks)

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
        behave = BEHAVIOURS.get(name) or streaming(name)
        with self.at_once(request.query.get("tag", "")):
            answer = await behave(self, request) if behave else refused(404)
        if answer is not None:
            await self.write(request, answer.encoded(), served=answer.served)


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
