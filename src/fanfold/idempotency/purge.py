"""Keys and answers that are older than a day go."""

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database

# An answer's part may be 1 MiB: no more at once than is deleted well within the statement's time-out.
BATCH = 200
_PURGE = text("select fanfold.idempotency_purge(:most)")


class Purge(Chore):
    """Removes what is older than 25 hours; `done` counts rows, keys and parts."""

    refused = "A purge of idempotency keys failed."

    def __init__(self, database: Database, *, every_s: float = 600.0) -> None:
        super().__init__(every_s=every_s, full=BATCH)
        self._database = database

    async def piece(self) -> int:
        """Remove at most `BATCH` rows."""
        async with self._database.begin() as connection:
            purged: int = (await connection.execute(_PURGE, {"most": BATCH})).scalar_one()
        return purged
