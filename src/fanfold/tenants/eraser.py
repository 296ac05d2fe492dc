"""Deleted tenants whose grace is over are erased."""

import asyncio
import logging

from sqlalchemy import text

from fanfold.core.db import Database

# An answer's part may be 1 MiB: no more at once than is deleted well within the statement's time-out.
BATCH = 200
_ERASE = text("select fanfold.tenant_erase(:most)")

_log = logging.getLogger(__name__)


class Eraser:
    """Erases what is due every `every_s` seconds, one process at a time. `failures` rounds were refused."""

    def __init__(self, database: Database, *, every_s: float = 60.0) -> None:
        self.failures = 0
        self._database, self._every_s = database, every_s

    async def run(self) -> None:
        """Erase until cancelled; meant for the lifespan's task group."""
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Do one round; a database that is away is met again in the next."""
        try:
            await self.erase()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("Erasing deleted tenants failed.", extra={"error": type(error).__name__})

    async def erase(self) -> int:
        """Erase every tenant that is due, in pieces of at most `BATCH` rows; returns how many rows were touched."""
        total = 0
        while True:
            async with self._database.begin() as connection:
                touched: int = (await connection.execute(_ERASE, {"most": BATCH})).scalar_one()
            total += touched
            if touched == 0:
                return total
