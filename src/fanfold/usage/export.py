"""An export: events in batches, each read in a transaction of its own, sent as fast as the client reads.

Between batches no connection is held, so that a slow reader costs a socket and one batch of memory, nothing else.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import ClassVar
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from fanfold.core.db import Database
from fanfold.core.values import value
from fanfold.usage.events import EventFilter, EventKey, EventRepository, EventRow
from fanfold.usage.formats import Form

# Some 400 KB, and a few milliseconds of the loop's time.
BATCH = 1_000


@value
class Export:
    """The events of one tenant that `chosen` takes, oldest first. `chosen.until` bounds it: new ones are no part."""

    database: Database
    tenant_id: UUID
    chosen: EventFilter

    async def batch(self, after: EventKey | None) -> Sequence[EventRow]:
        """Read the next events; fewer than `BATCH` are the last."""
        async with self.database.session(self.tenant_id) as session, session.begin():
            return await EventRepository(session, self.tenant_id).oldest(
                self.chosen, after=after, limit=BATCH
            )

    async def parts(self, rows: Sequence[EventRow], form: Form) -> AsyncIterator[bytes]:
        """Yield the whole body, whose first batch was read before."""
        yield form.start
        while rows:
            yield form.encode(rows, self.tenant_id)
            if len(rows) < BATCH or not (rows := await self.batch(rows[-1].key)):
                break
            yield form.between
        yield form.end


class ExportResponse(StreamingResponse):
    """A stream that ends when its reader stops. Where it fails the body is cut off: nobody takes it for whole."""

    # A client that takes nothing for so long is gone.
    send_timeout_s: ClassVar[float] = 60.0
    # However slowly it reads: its credential was judged at the beginning.
    deadline_s: ClassVar[float] = 3600.0

    async def stream_response(self, send: Send) -> None:
        """Send the body; raises TimeoutError after `send_timeout_s` without a reader, or `deadline_s` in all."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self.send_timeout_s):
                await send(message)

        async with asyncio.timeout(self.deadline_s):
            await super().stream_response(send_in_time)
