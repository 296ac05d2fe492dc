"""A request that runs: it ends once, and is billed once, whichever way it ends."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, Self

from fanfold.core.background import Background
from fanfold.core.errors import NotReady
from fanfold.core.time_limits import by
from fanfold.fanout.run import Run
from fanfold.fanout.types import FanOutAnswer
from fanfold.processing.billing import Billing
from fanfold.processing.types import Admission, Billed, Processed

SETTLE_MARGIN_S = 10.0

Settle = Callable[[], Coroutine[Any, Any, Billed]]


class UnderWay:
    """One admitted request, an async context manager: who leaves it has billed it.

    `deadline` is the event loop's time at which its calls end.
    """

    def __init__(self, admission: Admission, billing: Billing, background: Background) -> None:
        self.admission = admission
        self._background = background
        self.deadline = asyncio.get_running_loop().time() + admission.plan.request.deadline_s
        self.opened: Run | None = None
        self._billing = billing
        self._is_ended = False
        self._bill: asyncio.Task[Billed] | None = None  # where it is settled in a task of its own
        self._settle_by = 0.0

    async def __aenter__(self) -> Self:
        self._background.attend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.leave()
        except NotReady:
            # Nobody is there to be told of it; the end of the request goes on.
            if kind is not asyncio.CancelledError:
                raise
        finally:
            self._background.leave()

    @property
    def run(self) -> Run:
        """The fan-out, once it is opened."""
        assert self.opened is not None  # noqa: S101 (what could not be opened has raised)
        return self.opened

    async def end(self) -> Processed:
        """Bill the whole; raises 503 where that takes until 10 s after the deadline."""
        answer = self.run.answer()
        return Processed(self.admission, answer, await self._billed(answer, is_whole=True))

    async def leave(self) -> None:
        """Bill what the run has by now: calls without a result are cancelled.

        Where it has ended, wait for its bill: who left may be told only then that what was done is billed.
        """
        if not self._is_ended:
            await self._billed(self.opened.answer() if self.opened else None, is_whole=False)
            return
        if self._bill is None or self._bill.done():
            return
        left_s = self._settle_by - asyncio.get_running_loop().time()
        await asyncio.wait([self._bill], timeout=max(0.0, left_s))

    async def _billed(self, answer: FanOutAnswer | None, *, is_whole: bool) -> Billed:
        # A stream may be read late: it is billed late.
        now = asyncio.get_running_loop().time()
        self._settle_by = max(self.deadline, now) + SETTLE_MARGIN_S
        self._is_ended = True
        if answer is not None:
            self._billing.count(answer)
        settle = partial(
            self._billing.bill, self.admission, answer, is_whole=is_whole, store_by=self._settle_by
        )
        try:
            if self.admission.keyed is not None:
                return await self._settled_apart(settle)
            return await self._settled_here(settle)
        except TimeoutError:
            raise NotReady(
                "The answer is there, but could not be billed.", headers={"Retry-After": "5"}
            ) from None

    async def _settled_here(self, settle: Settle) -> Billed:
        """Settle in this very task, which costs half as much; cut off, it is settled in another: billed is it once."""
        try:
            async with by(self._settle_by):
                return await settle()
        except (TimeoutError, asyncio.CancelledError):
            self._bill = self._background.begin(settle())
            raise

    async def _settled_apart(self, settle: Settle) -> Billed:
        """Settle in a task of its own: an answer that is stored on the way is stored once."""
        self._bill = self._background.begin(settle())
        left_s = self._settle_by - asyncio.get_running_loop().time()
        await asyncio.wait([self._bill], timeout=left_s)
        if not self._bill.done():
            raise TimeoutError
        return self._bill.result()
