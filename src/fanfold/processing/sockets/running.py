"""The requests that one WebSocket carries: several at once, each under its ref, each with its own end."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from fanfold.core.errors import ConcurrencyExceeded, Conflict

_IN_USE = "This ref runs already. Give each request one of its own, or wait for its last answer."


@dataclass(eq=False, slots=True)
class Work:
    """One request: whether it goes on without its client, and whether its client has cancelled it."""

    ref: str | None
    goes_on: bool
    task: asyncio.Task[None] | None = None
    was_cancelled: bool = False

    def cancel(self) -> None:
        """End it, for its client wants no more of it."""
        if self.task is not None and not self.was_cancelled:
            self.was_cancelled = True
            self.task.cancel()


class Running:
    """At most `most` requests at once, in a task group that waits for all of them to be billed."""

    def __init__(self, group: asyncio.TaskGroup, *, most: int) -> None:
        self._group, self._most = group, most
        self._all: set[Work] = set()
        self.none = asyncio.Event()
        self.none.set()

    def __len__(self) -> int:
        return len(self._all)

    def of(self, ref: str | None) -> Iterator[Work]:
        """Yield what runs under `ref`; all there is for None."""
        return iter([work for work in self._all if ref is None or work.ref == ref])

    def check(self, ref: str | None) -> None:
        """Raise 409 where `ref` is in use, 429 where one more is too many."""
        if ref is not None and any(self.of(ref)):
            raise Conflict(_IN_USE)
        if len(self._all) >= self._most:
            raise ConcurrencyExceeded(
                f"At most {self._most} requests run or wait at once over one socket. Wait until one has ended.",
                headers={"Retry-After": "1"},
            )

    async def start(self, work: Work, body: Callable[[Work], Awaitable[None]]) -> None:
        """Begin; returns when it has begun, so that whoever cancels it then reaches it."""

        async def run() -> None:
            try:
                await body(work)
            finally:
                self._ended(work)

        self._all.add(work)
        self.none.clear()
        work.task = self._group.create_task(run())
        work.task.add_done_callback(lambda _task: self._ended(work))
        await asyncio.sleep(0)

    def leave(self, *, everything: bool) -> None:
        """Cancel what does not go on without its client; `everything` where the server ends the socket."""
        for work in self._all:
            if work.task is not None and (everything or not work.goes_on):
                work.task.cancel()

    def _ended(self, work: Work) -> None:
        self._all.discard(work)
        if not self._all:
            self.none.set()
