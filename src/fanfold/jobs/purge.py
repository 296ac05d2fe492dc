"""Jobs whose time is over go, with their texts and answers; so does input that never became a job."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database
from fanfold.tenants.periods import Clock, utc_now

# A job may hold 100 MB in many thousands of rows: no more at once than is deleted well within the time-out.
BATCH = 5
# An upload that still comes in after so long is none: the server ends it much earlier.
ABANDONED = timedelta(hours=2)
_PURGE = text("select fanfold.jobs_purge(:most, :before)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BELOW_THE_CLOCK = 80  # bits of a UUIDv7 that say nothing of the time (RFC 9562, 5.7)


class JobPurge(Chore):
    """Removes jobs after their `retention_days`, one process at a time; `done` counts jobs and parts of input."""

    refused = "A purge of jobs failed."

    def __init__(self, database: Database, *, every_s: float = 60.0, now: Clock = utc_now) -> None:
        super().__init__(every_s=every_s, full=BATCH)
        self._database, self._now = database, now

    async def piece(self) -> int:
        """Remove at most `BATCH` jobs, and as many parts."""
        values = {"most": BATCH, "before": earliest_id(self._now() - ABANDONED)}
        async with self._database.begin() as connection:
            purged: int = (await connection.execute(_PURGE, values)).scalar_one()
        return purged


def earliest_id(moment: datetime) -> UUID:
    """Return the id before all UUIDv7 that are made from `moment` on."""
    return UUID(int=((moment - _EPOCH) // timedelta(milliseconds=1)) << _BELOW_THE_CLOCK)
