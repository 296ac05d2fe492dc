"""The sweeper: what a crashed process held is freed when its lease ends. One leader at a time."""

import asyncio
import logging

from fanfold.core.db import Connect
from fanfold.usage.connection import PreparedConnection

BATCH = 1_000
_SWEEP = "select fanfold.ledger_sweep($1)"
_MAKE_PARTITIONS = "select fanfold.usage_partitions()"
_DAY_S = 86_400.0

_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps expired reservations every `every_s` seconds, and makes the months' partitions ahead once a day.

    Every process runs one: `ledger_sweep` takes an advisory lock, and whoever does not get it does nothing. `swept` is
    how many reservations this one gave back, `failures` how many rounds the database refused.
    """

    def __init__(self, connect: Connect, *, every_s: float = 5.0, timeout_s: float = 5.0) -> None:
        self.swept = 0
        self.failures = 0
        self._every_s = every_s
        self._sweep = PreparedConnection(connect, _SWEEP, timeout_s=timeout_s)
        self._partitions = PreparedConnection(connect, _MAKE_PARTITIONS, timeout_s=timeout_s)
        self._partitions_due_at = 0.0

    async def run(self) -> None:
        """Sweep until cancelled; meant for the lifespan's task group."""
        try:
            while True:
                await self.round()
                await asyncio.sleep(self._every_s)
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the sweeper's connections."""
        await self._sweep.close()
        await self._partitions.close()

    async def round(self) -> None:
        """Do one round; a database that is away is met again in the next."""
        try:
            await self.sweep()
            await self._make_partitions()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            self._sweep.drop()
            self._partitions.drop()
            _log.warning("A sweep of the ledger failed.", extra={"error": type(error).__name__})

    async def sweep(self) -> int:
        """Give back every expired reservation; returns how many."""
        total = 0
        while True:
            swept: int = (await self._sweep.fetchrow((BATCH,)))[0]
            total += swept
            self.swept += swept
            if swept < BATCH:
                return total

    async def _make_partitions(self) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._partitions_due_at:
            return
        await self._partitions.fetchrow(())
        await self._partitions.close()
        self._partitions_due_at = now + _DAY_S
