"""Whether this process is stopping, and what a request meets meanwhile."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanfold.core.errors import Draining
from fanfold.core.outgoing import Outgoing
from fanfold.core.problems import problem
from fanfold.core.sockets import TRY_AGAIN_LATER, closing

_CLOSE = (b"connection", b"close")
_RETRY = {"Retry-After": "1"}
_TOO_LATE = "This server is stopping. Send the request again: another one, or the next, will take it."
_CUT_OFF = (
    "This server stopped before the request was done. What was done is billed, as `GET /v1/usage` shows."
)


class Drain:
    """The stop of one process: it serves, it has begun to stop, it refuses what comes, it cuts off the rest."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.refuses = False
        self._running: set[asyncio.Task[object]] = set()
        self._cut_off: set[asyncio.Task[object]] = set()

    @property
    def has_begun(self) -> bool:
        """Whether the server is stopping: not ready, and every answer the last of its connection."""
        return self.begun.is_set()

    @property
    def running(self) -> int:
        """Requests and WebSockets that have not ended."""
        return len(self._running)

    def cut_off(self) -> int:
        """Cancel what still runs; returns how many."""
        for task in self._running - self._cut_off:
            self._cut_off.add(task)
            task.cancel()
        return len(self._cut_off)

    def enter(self) -> asyncio.Task[object]:
        """Count the present task as a running request, until it leaves."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine always runs in a task)
        self._running.add(task)
        return task

    def leave(self, task: asyncio.Task[object]) -> None:
        """Count `task` no more: its request has ended."""
        self._running.discard(task)
        self._cut_off.discard(task)

    def has_cut_off(self, task: asyncio.Task[object]) -> bool:
        """Whether `task` was cancelled by the stop, not by somebody else."""
        return task in self._cut_off


class DrainMiddleware:
    """Pure ASGI. While the server stops, answers close their connection; when it refuses, the answer is 503 `draining`.

    A request that is cut off before its answer began gets 503 too; WebSockets are closed with 1013.
    """

    def __init__(self, app: ASGIApp, *, drain: Drain) -> None:
        self._app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket; anything else passes through."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        has_started = False

        def close(head: Message) -> None:
            nonlocal has_started
            if head["type"] == "http.response.start":
                has_started = True
                if drain.begun.is_set() and scope["http_version"] in {"1.0", "1.1"}:
                    head["headers"].append(_CLOSE)

        drain, out = self._drain, Outgoing(send, close)
        task = drain.enter()
        try:
            scope.setdefault("state", {})["drain"] = drain
            if drain.refuses:
                await _refuse(_TOO_LATE, scope, receive, out)
                return
            try:
                await self._app(scope, receive, out)
            except asyncio.CancelledError:
                if has_started or not drain.has_cut_off(task):
                    raise
                task.uncancel()
                await _refuse(_CUT_OFF, scope, receive, out)
        finally:
            drain.leave(task)


def cut_off_error(scope: Scope) -> Draining | None:
    """Return what to tell the client where the stop has cancelled its request, the present task; else None."""
    drain: Drain | None = scope.get("state", {}).get("drain")
    task = asyncio.current_task()
    if drain is None or task is None or not drain.has_cut_off(task):
        return None
    return Draining(_CUT_OFF, headers=_RETRY)


async def _refuse(detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send(closing(TRY_AGAIN_LATER, detail))
        return
    error = Draining(detail, headers=_RETRY)
    await problem(error, scope)(scope, receive, send)
