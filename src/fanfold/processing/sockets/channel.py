"""A WebSocket's way out: one frame at a time, and nobody waits for ever for a reader that takes none."""

import asyncio

from starlette.types import Message, Send

from fanfold.core.errors import FanfoldError
from fanfold.core.problems import problem_content
from fanfold.core.sockets import closing
from fanfold.core.telemetry.context import request_server_id
from fanfold.processing.sockets.frames import answer

PATIENCE_S = 30.0
_CLOSING_S = 1.0


class Channel:
    """Sends answers. Whoever has one to send waits for those before it, and so for the client: nothing piles up here.

    A client that takes nothing for 30 s is `lost`, as one that has gone: from then on answers go nowhere.
    """

    def __init__(self, send: Send, *, patience_s: float = PATIENCE_S) -> None:
        self.lost = asyncio.Event()
        self._out, self._patience_s = send, patience_s
        self._turn = asyncio.Lock()

    async def tell(self, kind: str, ref: str | None, data: bytes) -> None:
        """Send one answer; `data` is JSON."""
        if not self.lost.is_set():
            async with self._turn:
                await self._send({"type": "websocket.send", "text": answer(kind, ref, data)})

    async def refuse(self, ref: str | None, error: FanfoldError) -> None:
        """Send a problem; what HTTP says in `Retry-After` is its member `retry_after_s`."""
        wait = {name.lower(): value for name, value in error.headers.items()}.get("retry-after")
        if wait is not None:
            error.members = {**error.members, "retry_after_s": int(wait)}
        await self.tell("error", ref, problem_content(error, request_server_id()))

    async def close(self, code: int, reason: str) -> None:
        """End the socket; where frames still wait for the client, without its hearing why."""
        try:
            async with asyncio.timeout(_CLOSING_S), self._turn:
                await self._send(closing(code, reason))
        except TimeoutError:
            pass
        finally:
            self.lost.set()

    async def _send(self, message: Message) -> None:
        if self.lost.is_set():
            return
        try:
            async with asyncio.timeout(self._patience_s):
                await self._out(message)
        except TimeoutError:
            self.lost.set()
