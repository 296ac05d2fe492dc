"""One WebSocket from its handshake to its end: frames in, requests that run, answers out."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import orjson
from starlette.types import Receive

from fanfold.core.errors import FanfoldError, MalformedRequest, ValidationFailed
from fanfold.core.events import Unread
from fanfold.core.offload import Offload
from fanfold.core.schemas import StrictModel
from fanfold.core.sockets import (
    INVALID_DATA,
    LIMITS,
    MESSAGE_TOO_BIG,
    TRY_AGAIN_LATER,
    UNSUPPORTED_DATA,
    code_of,
)
from fanfold.core.values import value
from fanfold.processing.sockets.channel import Channel
from fanfold.processing.sockets.frames import (
    CancelFrame,
    FrameTooBig,
    NotText,
    decoded,
    encoded,
    ref_of,
    validated,
)
from fanfold.processing.sockets.gate import STOPPING, Gate
from fanfold.processing.sockets.running import Running, Work

MAX_REFUSED = 20
_AS_ASKED = orjson.dumps({"detail": "Ended as asked. What was done is billed, as GET /v1/usage shows."})
_UNREAD = orjson.dumps(
    {"detail": "Its answers were not read in time. What was done is billed, as GET /v1/usage shows."}
)
_TOO_MANY = f"{MAX_REFUSED} frames in a row were refused; see the errors, mend them, connect again."


@value
class End:
    """Why the server closes a socket."""

    code: int
    reason: str


@value(kw_only=True)
class Line:
    """What a session works with: its way in, its way out, its limits."""

    receive: Receive
    channel: Channel
    gate: Gate
    offload: Offload
    max_frame_bytes: int


class Session(ABC):
    """Reads frames until an end: the client leaves, its credential ends, the server stops, or patience is over.

    The reader waits for nothing that a request does, so that a cancel, and the client's leaving, is always heard.
    """

    kinds: ClassVar[dict[str, type[StrictModel]]]
    most: ClassVar[int] = 100

    def __init__(self, line: Line) -> None:
        self._line, self._channel, self._gate = line, line.channel, line.gate
        self._running: Running

    @abstractmethod
    async def take(self, frame: Any, value: dict[str, Any]) -> None:
        """Begin what a frame asks for, which was sent as `value`; raises what it is refused for."""

    async def run(self) -> None:
        """Serve the socket, which is accepted; returns when all that it carried is billed."""
        async with asyncio.TaskGroup() as group:
            self._running = Running(group, most=self.most)
            ends = [
                group.create_task(end)
                for end in (self._read(), self._lost(), self._revoked(), self._drained())
            ]
            done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                task.cancel()
            end = next((task.result() for task in done if task.result()), None)
            if end is not None:
                await self._channel.close(end.code, end.reason)
            self._channel.lost.set()
            self._running.leave(everything=end is not None)

    async def begin(
        self, ref: str | None, body: Callable[[], Awaitable[None]], *, goes_on: bool = False
    ) -> None:
        """Run `body`, whose refusals are answered; raises 409 and 429."""

        async def answered(work: Work) -> None:
            try:
                await body()
            except FanfoldError as error:
                await self._channel.refuse(ref, error)
            except Unread:
                await self._channel.tell("cancelled", ref, _UNREAD)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not work.was_cancelled or task is None or task.uncancel():
                    raise
                await self._channel.tell("cancelled", ref, _AS_ASKED)

        self._running.check(ref)
        await self._running.start(Work(ref, goes_on), answered)

    async def _read(self) -> End | None:
        patience = MAX_REFUSED
        while True:
            message = await self._line.receive()
            if message["type"] == "websocket.disconnect":
                return None
            try:
                refused = await self._take(message.get("text"))
            except FrameTooBig:
                return End(
                    MESSAGE_TOO_BIG,
                    f"A frame holds at most {self._line.max_frame_bytes} bytes.",
                )
            patience = patience - 1 if refused else MAX_REFUSED
            if refused and not patience:
                return End(_code_of(refused), _TOO_MANY)

    async def _take(self, text: str | None) -> FanfoldError | None:
        """Take one frame; returns what it was refused for, which is answered."""
        ref = None
        try:
            value = await self._decoded(text)
            ref = ref_of(value)
            if value.get("type") == "cancel":
                await self._cancel(value)
            else:
                await self._gate.admit()
                await self.take(validated(self._kind(value), value), value)
        except FanfoldError as error:
            await self._channel.refuse(ref, error)
            return error
        return None

    async def _decoded(self, text: str | None) -> dict[str, Any]:
        try:
            return await self.decode(encoded(text, self._line.max_frame_bytes))
        except MalformedRequest:  # to read it was work too
            await self._gate.admit()
            raise

    async def decode(self, data: bytes) -> dict[str, Any]:
        """Return the object that a frame holds."""
        return await decoded(data, self._line.offload)

    async def _cancel(self, value: dict[str, Any]) -> None:
        frame = validated(CancelFrame, value)
        found = list(self._running.of(frame.ref))
        if not found:  # it has just ended: nothing is wrong with that, but such frames count like others
            await self._gate.admit()
        for work in found:
            work.cancel()

    def _kind(self, value: dict[str, Any]) -> type[StrictModel]:
        kind = value.get("type")
        if not isinstance(kind, str) or kind not in self.kinds:
            known = ", ".join([*self.kinds, "cancel"])
            message = f"Unknown type of frame. Known here: {known}."
            errors = [{"loc": ["body", "type"], "msg": message, "type": "literal_error"}]
            raise ValidationFailed(message, errors=errors)
        return self.kinds[kind]

    async def _lost(self) -> None:
        await self._channel.lost.wait()

    async def _revoked(self) -> End | None:
        watched = self._gate.watched
        await watched.ended.wait()
        return End(code_of(watched.reason), watched.reason.detail) if watched.reason else None

    async def _drained(self) -> End:
        await self._gate.drain.begun.wait()
        await self._running.none.wait()
        return End(TRY_AGAIN_LATER, STOPPING)


def _code_of(error: FanfoldError) -> int:
    if isinstance(error, NotText):
        return UNSUPPORTED_DATA
    return LIMITS if code_of(error) == LIMITS else INVALID_DATA
