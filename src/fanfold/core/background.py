"""Work that has to end well even when the one who asked for it has gone."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class Background:
    """A task group of the whole process. Closing it waits for what still runs, at most `grace_s` seconds.

    It waits too for those who will yet ask it for something: a server that stops cancels its requests, and each of them
    has to settle first.
    """

    def __init__(self, *, grace_s: float = 30.0) -> None:
        self._grace_s = grace_s
        self._tasks: set[asyncio.Task[Any]] = set()
        self._attending = 0
        self._nobody_attends: asyncio.Future[None] | None = None  # while it is waited for

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_s):
                await self._until_nobody_attends()
                if self._tasks:
                    await asyncio.wait(self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._tasks)

    def attend(self) -> None:
        """Keep `Background` open until `leave` is called as often: there may yet be work to be seen through."""
        self._attending += 1

    def leave(self) -> None:
        """Take back one `attend`."""
        self._attending -= 1
        if self._nobody_attends is not None and not (self._attending or self._nobody_attends.done()):
            self._nobody_attends.set_result(None)

    async def see_through(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Await `work`; when the caller is cancelled the work goes on without it."""
        return await asyncio.shield(self.begin(work))

    def begin(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin `work`, which goes on whoever waits for it: shield it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Read, so that a failure nobody waited for is not reported as forgotten.

    async def _until_nobody_attends(self) -> None:
        while self._attending:
            self._nobody_attends = asyncio.get_running_loop().create_future()
            await self._nobody_attends
        self._nobody_attends = None
