"""SIGTERM and Ctrl-C: everything that was asked is answered before uvicorn, under whatever started it, may stop."""

import asyncio
import math
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn

from fanfold.core.drain import Drain
from fanfold.core.listeners import quiet
from fanfold.core.telemetry.logging import get_logger

SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST_REQUEST_S = 1.0  # for a request that is on its way on an open connection
SETTLE_S = 15.0  # for what was cut off
CLOSING_S = 2.0  # for the last bytes of answers
_POLL_S = 0.02

_log = get_logger("fanfold.stopping")


@asynccontextmanager
async def stopping_gently(
    drain: Drain, *, delay_s: float, grace_s: float, is_alone: bool
) -> AsyncIterator[None]:
    """Take SIGTERM and SIGINT from the uvicorn that runs this application, if one does, until the body ends.

    `delay_s` is how long it goes on as before, but for readiness; `grace_s` how long running requests may take then.
    `is_alone`: no other process accepts from the same listening socket.
    """
    server = _server()
    if server is None:
        yield
        return
    stop = _Stop(drain, server, delay_s=delay_s, grace_s=grace_s, is_alone=is_alone)
    loop = asyncio.get_running_loop()
    before = {each: signal.getsignal(each) for each in SIGNALS}
    for each in SIGNALS:
        loop.add_signal_handler(each, stop.on_signal, each)
    try:
        yield
    finally:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)


def _server() -> uvicorn.Server | None:
    # uvicorn tells an application nothing of its server, but its signal handler is one of the server's methods.
    if threading.current_thread() is not threading.main_thread():
        return None
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return server if isinstance(server, uvicorn.Server) else None


class _Stop:
    """One stop, begun by a signal. A second one ends the waiting, a third ends the process."""

    def __init__(
        self, drain: Drain, server: uvicorn.Server, *, delay_s: float, grace_s: float, is_alone: bool
    ) -> None:
        self._drain = drain
        self._server = server
        self._delay_s, self._grace_s = delay_s, grace_s
        self._is_alone = is_alone
        self._received: list[int] = []
        self._hurry = False
        self._task: asyncio.Task[None] | None = None

    def on_signal(self, received: int) -> None:
        # A terminal's Ctrl-C reaches every worker, and then each gets its parent's SIGTERM: that is one stop.
        is_again = received in self._received or received == signal.SIGINT
        self._received.append(received)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif is_again and not self._hurry:
            self._hurry = True
        elif is_again:
            self._server.force_exit = self._server.should_exit = True

    async def _run(self) -> None:
        try:
            await self._drain_all()
        finally:
            self._server.should_exit = True

    async def _drain_all(self) -> None:
        now = asyncio.get_running_loop().time
        self._drain.begun.set()
        _log.info("Stopping: requests may end.", running=self._drain.running, delay_s=self._delay_s)
        await self._until(lambda: False, self._delay_s)
        end = now() + self._grace_s
        await self._close_listeners()
        await self._until(lambda: not self._server.server_state.connections, LAST_REQUEST_S)
        self._drain.refuses = True
        await self._until(lambda: not self._drain.running, end - now())
        if cut_off := self._drain.cut_off():
            _log.warning("Requests were cut off by the stop; what was done is settled.", running=cut_off)
            self._hurry = False
            await self._until(lambda: not self._drain.running, SETTLE_S)
        self._server.config.timeout_graceful_shutdown = math.ceil(max(CLOSING_S, end - now()))

    async def _close_listeners(self) -> None:
        servers = getattr(self._server, "servers", [])  # none yet where the signal comes during the start
        if self._is_alone and not self._hurry:
            await quiet([each.fileno() for server in servers for each in server.sockets])
        for server in servers:
            server.close()

    async def _until(self, holds: Callable[[], bool], within_s: float) -> None:
        now = asyncio.get_running_loop().time
        end = now() + within_s
        while not (holds() or self._hurry) and (left := end - now()) > 0:  # noqa: ASYNC110 (uvicorn has no event)
            await asyncio.sleep(min(_POLL_S, left))
