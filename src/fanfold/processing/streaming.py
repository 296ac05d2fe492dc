"""A request that runs, told as events while it does."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fanfold.core.errors import FanfoldError
from fanfold.core.events import Unread
from fanfold.fanout.run import Run
from fanfold.fanout.types import Delta
from fanfold.processing import events
from fanfold.processing.events import Event
from fanfold.processing.types import Admission
from fanfold.processing.under_way import UnderWay

PROGRESS_EVERY_S = 0.25
READ_MARGIN_S = 30.0


class Progress:
    """How many results there are, told at most every quarter of a second, and at the end."""

    def __init__(self, total: int) -> None:
        self._total, self._results, self._told = total, 0, 0
        self._now = asyncio.get_running_loop().time
        self._next = self._now() + PROGRESS_EVERY_S

    def count(self) -> None:
        """Count one more result."""
        self._results += 1

    @property
    def due(self) -> float | None:
        """The event loop's time at which to tell it; None while there is nothing new."""
        return self._next if self._told < self._results else None

    @property
    def is_due(self) -> bool:
        """Whether it is to be told now."""
        return self.due is not None and self._now() >= self._next

    def tell(self) -> Event:
        """Return the event."""
        self._told, self._next = self._results, self._now() + PROGRESS_EVERY_S
        return events.progress(self._results, total=self._total)


@asynccontextmanager
async def read_by(deadline: float) -> AsyncIterator[None]:
    """Run the body until the event loop's time `deadline`; raises `Unread` where it goes on."""
    limit = asyncio.timeout_at(deadline)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Unread from None


async def stream_of(under_way: UnderWay) -> AsyncGenerator[Event, None]:
    """Yield the events of a request that has just begun; the last one, `done` or `error`, when it is billed."""
    run, admission = under_way.run, under_way.admission
    total = len(admission.plan.calls)
    yield events.accepted(admission.id, total=total, units_max=admission.plan.units_max)
    progress = Progress(total)
    async for event in _results(run, admission, progress):
        yield event
        del event  # kept by nobody while the next is waited for
    if progress.due is not None:
        yield progress.tell()
    try:
        yield await events.done(await under_way.end())
    except FanfoldError as error:
        yield events.error(error)


async def _results(run: Run, admission: Admission, progress: Progress) -> AsyncGenerator[Event, None]:
    while True:
        try:
            async with asyncio.timeout_at(progress.due):
                result = await anext(run)  # a wait that is cut short takes nothing out of the run
        except StopAsyncIteration:
            return
        except TimeoutError:
            yield progress.tell()
            continue
        if isinstance(result, Delta):
            yield events.delta(result)
            continue
        progress.count()
        yield events.chunk(admission, result)
        if progress.is_due:
            yield progress.tell()
