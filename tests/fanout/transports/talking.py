"""A server that says what it is told to, to what is not even HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n"ok"'
STOLEN = OK.replace(b'"ok"', b'"no"')


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """Give an address whose every connection is handed to `talk`, and how many there were."""
    count, talks = [0], set[asyncio.Task[None]]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count[0] += 1
        task = asyncio.current_task()
        assert task is not None
        talks.add(task)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/", count
        for each in talks:
            each.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


def answering(*answers: bytes) -> Talk:
    """Answer the requests of a connection one after another, the last answer for ever."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = 0
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            writer.write(answers[min(number, len(answers) - 1)])
            await writer.drain()
            number += 1

    return talk
