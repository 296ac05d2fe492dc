"""A plain request whose client hangs up: ASGI tells it, but nothing listens by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request


class ClientLeft(Exception):
    """The client hung up before it had its answer."""


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


@asynccontextmanager
async def cancelled_when_client_leaves(request: Request) -> AsyncIterator[None]:
    """Run the body, whose request has been read, while the client is there; raises `ClientLeft` when it hangs up.

    The body is cancelled at its await; what it does in `finally` still runs.
    """
    body = asyncio.current_task()
    assert body is not None  # noqa: S101 (a coroutine always runs in a task)
    left = False

    async def watch() -> None:
        nonlocal left
        await _gone(request)
        left = True
        body.cancel()

    watcher = asyncio.create_task(watch())
    try:
        yield
    except asyncio.CancelledError:
        if left and body.uncancel() == 0:
            raise ClientLeft from None
        raise
    finally:
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
