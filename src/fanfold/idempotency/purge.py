"""Keys and answers that are older than a day go."""

import asyncio
import logging

from sqlalchemy import text

from fanfold.core.db import Database

# An answer's part may be 1 MiB: no more at once than is deleted well within the statement's time-out.
BATCH = 200
_PURGE = text("select fanfold.idempotency_purge(:most)")

_log = logging.getLogger(__name__)


class Purge:
    """Removes what has expired every `every_s` seconds. `purged` rows went so far, `failures` rounds were refused."""

    def __init__(self, database: Database, *, every_s: float = 600.0) -> None:
        self.purged = 0
        self.failures = 0
        self._database, self._every_s = database, every_s

    async def run(self) -> None:
        """Purge until cancelled; meant for the lifespan's task group."""
        while True:
            await self.round()
            await asyncio.sleep(self._every_s)

    async def round(self) -> None:
        """Do one round; a database that is away is met again in the next."""
        try:
            await self.purge()
        except Exception as error:  # noqa: BLE001 - the loop's edge: no fault of one round may end the process
            self.failures += 1
            _log.warning("A purge of idempotency keys failed.", extra={"error": type(error).__name__})

    async def purge(self) -> int:
        """Remove everything that is older than 25 hours; returns how many rows, keys and parts, went."""
        total = 0
        while True:
            async with self._database.begin() as connection:
                purged: int = (await connection.execute(_PURGE, {"most": BATCH})).scalar_one()
            total += purged
            self.purged += purged
            if purged < BATCH:
                return total
