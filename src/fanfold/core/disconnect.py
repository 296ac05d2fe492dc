"""A plain request whose client hangs up: ASGI tells it, but nothing listens by itself."""

import asyncio
from types import TracebackType

from starlette.requests import Request
from starlette.types import Receive

# A task for each request costs more than it is worth to a request that is done by then.
_UNWATCHED_S = 0.1


class ClientLeft(Exception):
    """The client hung up before it had its answer."""


async def gone(receive: Receive) -> None:
    """Wait until the client of a request that has been read hangs up."""
    while (await receive())["type"] != "http.disconnect":
        continue


class cancelled_when_client_leaves:  # noqa: N801 (used as a function; a generator costs each request three times as much)
    """Run the body, whose request has been read, while the client is there; raises `ClientLeft` when it hangs up.

    The body is cancelled at its await; what it does in `finally` still runs. What takes less than 0.1 s is over before
    anybody looks.
    """

    __slots__ = ("_beginning", "_body", "_has_left", "_receive", "_watcher")

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._has_left = False
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        body = asyncio.current_task()
        assert body is not None  # noqa: S101 (a coroutine always runs in a task)
        self._body = body
        self._beginning = asyncio.get_running_loop().call_later(_UNWATCHED_S, self._begin)

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await gone(self._receive)
        self._has_left = True
        self._body.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._beginning.cancel()
        has_left = self._has_left
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        if kind is asyncio.CancelledError and has_left and self._body.uncancel() == 0:
            raise ClientLeft from None
