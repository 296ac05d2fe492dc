"""Deleted tenants whose grace is over are erased."""

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database

# An answer's part may be 1 MiB: no more at once than is deleted well within the statement's time-out.
BATCH = 200
_ERASE = text("select fanfold.tenant_erase(:most)")


class Eraser(Chore):
    """Erases every tenant that is due, one process at a time; `done` counts rows that were touched."""

    refused = "Erasing deleted tenants failed."

    def __init__(self, database: Database, *, every_s: float = 60.0) -> None:
        super().__init__(every_s=every_s)
        self._database = database

    async def piece(self) -> int:
        """Touch at most `BATCH` rows of the tenant whose turn it is."""
        async with self._database.begin() as connection:
            touched: int = (await connection.execute(_ERASE, {"most": BATCH})).scalar_one()
        return touched
