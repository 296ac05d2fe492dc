"""Work that is due again and again, in the background, piece by piece."""

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import ClassVar


class Chore(ABC):
    """Does every `every_s` seconds all that is due. A piece of less than `full` is a round's last.

    `done` is how much was done so far, `failures` how many rounds were refused, which `refused` says in the log.
    """

    refused: ClassVar[str]

    def __init__(self, *, every_s: float, full: int = 1) -> None:
        self.done = 0
        self.failures = 0
        self._every_s, self._full = every_s, full

    @abstractmethod
    async def piece(self) -> int:
        """Do a bounded part of what is due, committed before the next; returns how much."""

    async def work(self) -> int:
        """Do all that is due; returns how much."""
        total = 0
        while True:
            some = await self.piece()
            self.done += some
            total += some
            if some < self._full:
                return total

    async def round(self) -> None:
        """Do one round; a database that is away is met again in the next."""
        try:
            await self.work()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            log = logging.getLogger(type(self).__module__)
            log.warning(self.refused, extra={"error": type(error).__name__})

    async def run(self) -> None:
        """Go round until cancelled; meant for the lifespan's task group."""
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)
