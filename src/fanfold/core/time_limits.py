"""Time limits for waits that nearly always end long before them: a timer is set only for those that come near.

`asyncio.timeout` sets one for each wait and takes it back: of all that a request and each of its calls cost, a
twentieth. Here a limit is noted, and one look a second sets the timers of those that end before the next look. They
are as exact as asyncio's; only where the loop stood still in between may what came late, but before them, count.
"""

import asyncio
import threading
from types import TracebackType
from typing import Self

LOOK_S = 1.0


class TimeLimit:
    """An async context that raises `TimeoutError` where its body still waits at `when` (loop time)."""

    __slots__ = ("_before", "_is_over", "_looks", "_task", "when")

    def __init__(self, looks: "_Looks", when: float) -> None:
        self.when = when
        self._looks = looks
        self._is_over = False

    def expired(self) -> bool:
        """Tell whether the time came before the end."""
        return self._is_over

    async def __aenter__(self) -> Self:
        task = asyncio.current_task(self._looks.loop)
        if task is None:
            raise RuntimeError("A time limit is that of a task.")
        self._task, self._before = task, task.cancelling()
        self._looks.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        timer = self._looks.timers.pop(self)
        if timer is not None:
            timer.cancel()
        if not self._is_over:
            return
        # Who cancelled the task meanwhile still gets its cancellation.
        ours = self._task.uncancel() <= self._before
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def end(self) -> None:
        """Cut the body off."""
        self._is_over = True
        self._task.cancel()


class _Looks:
    """The limits of one event loop: noted from afar, timed when they are near."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.timers: dict[TimeLimit, asyncio.Handle | None] = {}
        self._next: asyncio.TimerHandle | None = None

    def add(self, limit: TimeLimit) -> None:
        now = self.loop.time()
        if limit.when - now <= LOOK_S:
            self.timers[limit] = self._timer(limit, now)
            return
        self.timers[limit] = None
        if self._next is None:
            self._next = self.loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        far = [limit for limit, timer in self.timers.items() if timer is None]
        for limit in far:
            if limit.when - now <= LOOK_S:
                self.timers[limit] = self._timer(limit, now)
        self._next = self.loop.call_later(LOOK_S, self._look) if far else None

    def _timer(self, limit: TimeLimit, now: float) -> asyncio.Handle:
        if limit.when <= now:  # a turn of the loop earlier than a timer
            return self.loop.call_soon(limit.end)
        return self.loop.call_at(limit.when, limit.end)


class _OfThread(threading.local):
    looks: _Looks | None = None


_of_thread = _OfThread()


def within(seconds: float) -> TimeLimit:
    """Return the limit of a wait that may take so long. Made inside the running loop."""
    loop = asyncio.get_running_loop()
    looks = _of_thread.looks
    if looks is None or looks.loop is not loop:
        looks = _of_thread.looks = _Looks(loop)
    return TimeLimit(looks, loop.time() + seconds)


def by(when: float) -> TimeLimit:
    """Return the limit of a wait that may last until `when` (loop time). Made inside the running loop."""
    limit = within(0.0)
    limit.when = when
    return limit
