"""What usage needs in the background besides the sweeper: daily sums, retention, an eye on the default partition."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from fanfold.core.db import Connect
from fanfold.usage.connection import PreparedConnection

# More than a month of hours: what a long outage left is caught up in a few rounds.
MOST_HOURS = 1_000
DEFAULT_ROWS_EVERY_S = 600.0
RETENTION_EVERY_S = 3_600.0
_ROLL = "select fanfold.usage_roll_due()"
_DEFAULT_ROWS = "select fanfold.usage_default_rows()"
_RETENTION = "select fanfold.usage_retention($1)"

_log = logging.getLogger(__name__)


class Upkeep:
    """Every `every_s` seconds rolls up the hours that are over; at longer paces removes months and counts.

    Every process runs one; the functions take advisory locks, and who does not get one does nothing. Months older than
    `retention_months` are removed, 0 keeps all. `hours` and `months` are how many this one rolled and removed,
    `default_rows` how many events lay in the default partition when it last looked, `failures` chores that the database
    refused: they are taken up again in the next round.
    """

    def __init__(
        self, connect: Connect, *, retention_months: int, every_s: float = 60.0, timeout_s: float = 60.0
    ) -> None:
        self.hours = 0
        self.months = 0
        self.default_rows = 0
        self.failures = 0
        self._connect, self._every_s, self._timeout_s = connect, every_s, timeout_s
        self._retention_months = retention_months
        self._retention_due_at = self._default_rows_due_at = 0.0

    async def run(self) -> None:
        """Keep usage up until cancelled; meant for the lifespan's task group."""
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Do what is due; a chore that fails does not keep the others from being done."""
        for chore in (self.roll, self._remove_when_due, self._count_when_due):
            try:
                await chore()
            except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one chore may end the process
                self.failures += 1
                _log.warning("The upkeep of usage failed.", extra={"error": type(error).__name__})

    async def roll(self) -> int:
        """Roll up every hour that is over; returns how many."""
        rolled = len(await self._repeat(_ROLL, (), most=MOST_HOURS))
        self.hours += rolled
        return rolled

    async def remove(self) -> int:
        """Remove every month that is past its retention; returns how many."""
        removed = len(await self._repeat(_RETENTION, (self._retention_months,), most=MOST_HOURS))
        self.months += removed
        return removed

    async def _remove_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._retention_due_at:
            await self.remove()
            self._retention_due_at = now + RETENTION_EVERY_S

    async def _count_when_due(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._default_rows_due_at:
            counted = await self._repeat(_DEFAULT_ROWS, (), most=1)
            self.default_rows = counted[0] if counted else 0
            self._default_rows_due_at = now + DEFAULT_ROWS_EVERY_S

    async def _repeat(self, statement: str, arguments: Sequence[Any], *, most: int) -> list[Any]:
        """Run the statement in transactions of its own as long as it answers something; returns the answers."""
        connection = PreparedConnection(self._connect, statement, timeout_s=self._timeout_s)
        answers: list[Any] = []
        try:
            while len(answers) < most and (answer := (await connection.fetchrow(arguments))[0]):
                answers.append(answer)
        finally:
            await connection.close()
        return answers
