"""`WS /v1/chat/ws`: one question after another, with its steps as they happen."""

import asyncio
from functools import partial
from typing import Any, ClassVar

import orjson

from fanfold.auth.dependencies import quota_of
from fanfold.core.long_json import is_long
from fanfold.core.schemas import StrictModel
from fanfold.processing.events import Event
from fanfold.processing.schemas import MAX_CHUNK_SIZE, FoldRequest, ProcessRequest, SplitOptions
from fanfold.processing.service import ProcessingService
from fanfold.processing.sockets.chat_frames import MessageFrame, plain_or_frame
from fanfold.processing.sockets.question import chosen, composed, understood
from fanfold.processing.sockets.session import Line, Session

_DIGITS = 4


class ChatSession(Session):
    """Answers messages in the order in which they came; eight may wait behind the one that is answered.

    `takes_plain_text`: a text frame that is no JSON object with a `type` is a message.
    """

    kinds: ClassVar[dict[str, type[StrictModel]]] = {"message": MessageFrame}
    most = 9

    def __init__(self, line: Line, processing: ProcessingService, *, takes_plain_text: bool = False) -> None:
        super().__init__(line)
        self._processing, self._takes_plain_text = processing, takes_plain_text
        self._turn = asyncio.Lock()

    async def decode(self, data: bytes) -> dict[str, Any]:
        """Return the object that a frame holds, or is."""
        if not self._takes_plain_text:
            return await super().decode(data)
        return await self._line.offload.run(plain_or_frame, data) if is_long(data) else plain_or_frame(data)

    async def take(self, frame: Any, _value: dict[str, Any]) -> None:
        """Begin a message, or let it wait."""
        await self.begin(frame.ref, partial(self._answer, frame))

    async def _answer(self, frame: MessageFrame) -> None:
        async with self._turn, self._gate.slot():
            question = await self._retrieved(frame)
            principal, tenant = self._gate.who()
            request = ProcessRequest(
                text=question, split=SplitOptions(size=MAX_CHUNK_SIZE), fold=FoldRequest(by="concat")
            )
            admission = await self._processing.admit(principal, tenant, quota_of(tenant), request)
            async with self._processing.streamed(admission) as events:
                async for event in events:
                    await self._tell(frame, event)

    async def _retrieved(self, frame: MessageFrame) -> str:
        """Return what is asked of the upstream, and tell of the two steps before."""
        text, passages, offload = frame.text, frame.passages, self._line.offload
        await self._step(frame, "understand", await offload.run(understood, text))
        best = await offload.run(chosen, text, passages) if passages else []
        found = [{"index": each.index, "score": round(each.score, _DIGITS)} for each in best]
        await self._step(frame, "retrieve", {"passages": len(passages), "chosen": found})
        return composed(text, passages, best)

    async def _tell(self, frame: MessageFrame, event: Event) -> None:
        match event.name:
            case "accepted":
                accepted = orjson.loads(event.data)
                calls = {"id": accepted["id"], "calls": accepted["total"], "units_max": accepted["units_max"]}
                await self._step(frame, "fan_out", calls)
            case "chunk":  # there is one: a question is one chunk
                result = orjson.loads(event.data)
                await self._step(frame, "fold", {"answers": int(result["success"]), "error": result["error"]})
            case "delta" | "done" | "error":
                await self._channel.tell(event.name, frame.ref, event.data)

    async def _step(self, frame: MessageFrame, name: str, detail: dict[str, Any]) -> None:
        await self._channel.tell("step", frame.ref, orjson.dumps({"name": name, "detail": detail}))
