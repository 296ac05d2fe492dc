"""Counting of tokens that an upstream did not report: off the event loop where the texts are long, one owner's in turn.

The count is part of the call: an answer is accepted once its price is known, so one whose tokens cannot be counted
by the deadline is a `deadline` failure, and one whose request ends meanwhile is cancelled. Neither is billed.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

from fanfold.core.errors import Overloaded
from fanfold.fanout.slots import Slots
from fanfold.fanout.turns import Turns
from fanfold.fanout.work import Work

T = TypeVar("T")

# Counting these takes up to 0.3 ms, about what a turn off the loop costs.
_SHORT_LENGTH = 4_000
_PAUSE_S = 0.05
_KEY = "counting"


class Counting:
    """Counts in at most half of the pool's threads, so that texts to be split always find one; one at a time of an
    owner, so that nobody waits for all the answers of another.
    """

    def __init__(self, *, work: Work, slots: Slots, turns: Turns) -> None:
        self._work, self._slots, self._turns = work, slots, turns
        self._most = max(1, work.threads // 2)

    async def run(
        self, count: Callable[[], T], *, length: int, owner: str | None, weight: int = 1, deadline: float
    ) -> T:
        """Return `count()`, which counts texts of `length` code points.

        Raises `TimeoutError` at `deadline` (loop time).
        """
        async with asyncio.timeout_at(deadline):
            await self._turns.take(owner)
            if length <= _SHORT_LENGTH:
                return count()
            with ExitStack() as held:
                for key, limit in ((f"{_KEY} of {owner}", 1), (_KEY, self._most)):
                    await self._slots.acquire(key, owner=owner, weight=weight, limit=limit, deadline=deadline)
                    held.callback(self._slots.release, key, owner=owner)
                return await self._off_the_loop(count)

    async def _off_the_loop(self, count: Callable[[], T]) -> T:
        while True:
            try:
                return await self._work.run(count, is_long=True)
            except Overloaded:  # the upstream has answered: too late to refuse, and far too long for the loop
                await asyncio.sleep(_PAUSE_S)
