"""`WS /v1/process/ws`: process requests, several at once over one socket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, ClassVar

from fanfold.auth.dependencies import quota_of
from fanfold.core.events import Event
from fanfold.core.schemas import StrictModel
from fanfold.processing.replay import replayed_events
from fanfold.processing.service import ProcessingService
from fanfold.processing.sockets.frames import ProcessFrame
from fanfold.processing.sockets.keyed import Keys, check_goes_on
from fanfold.processing.sockets.session import Line, Session


class ProcessSession(Session):
    """Answers each request with its events, those of different requests in between each other."""

    kinds: ClassVar[dict[str, type[StrictModel]]] = {"process": ProcessFrame}

    def __init__(self, line: Line, processing: ProcessingService, keys: Keys) -> None:
        super().__init__(line)
        self._processing, self._keys = processing, keys

    async def take(self, frame: Any, value: dict[str, Any]) -> None:
        """Begin a request."""
        goes_on = check_goes_on(frame)
        await self.begin(frame.ref, partial(self._process, frame, value["request"]), goes_on=goes_on)

    async def _process(self, frame: ProcessFrame, request: Any) -> None:
        async with self._gate.slot(), await self._told(frame, request) as events:
            async for event in events:
                await self._channel.tell(event.name, frame.ref, event.data)

    async def _told(
        self, frame: ProcessFrame, request: Any
    ) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Return the events of the request, those of its first answer where its key has one."""
        principal, tenant = self._gate.who()
        keyed = await self._keys.known(frame, request, tenant.id)
        if keyed and (kept := await self._keys.answers.look_up(keyed)):
            return await replayed_events(self._keys.answers, keyed, kept, frame.request)
        admission = await self._processing.admit(principal, tenant, quota_of(tenant), frame.request, keyed)
        return self._processing.streamed(admission)
