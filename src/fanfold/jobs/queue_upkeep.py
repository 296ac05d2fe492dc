"""What keeps the jobs' queue small and whole: pgqueuer's own records go after a while, lost turns come back."""

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database

_PIECE = 5_000
_EVERY_S = 60.0
_MEND = text("select fanfold.job_turns_mend()")
# Picks and ends, of which nobody reads any; and turns that raised, which would stay for ever.
_TIDY = text(
    """
    with logged as (
      delete from fanfold.pgqueuer_log where id in (
        select id from fanfold.pgqueuer_log where created < now() - interval '10 minutes' order by created limit :most)
      returning 1),
    failed as (
      delete from fanfold.pgqueuer where id in (
        select id from fanfold.pgqueuer where status = 'failed' and updated < now() - interval '1 day' limit :most)
      returning 1)
    select (select count(*) from logged) + (select count(*) from failed)
    """
)


class QueueUpkeep(Chore):
    """Each minute; `done` is how many records went."""

    refused = "A round of the upkeep of the jobs' queue failed."

    def __init__(self, database: Database, *, every_s: float = _EVERY_S) -> None:
        super().__init__(every_s=every_s, full=_PIECE)
        self._database = database

    async def work(self) -> int:
        """Queue the turns that are missing, then remove what is old."""
        async with self._database.begin() as connection:
            await connection.execute(_MEND)
        return await super().work()

    async def piece(self) -> int:
        """Remove a bounded number of old records; returns how many."""
        async with self._database.begin() as connection:
            return int((await connection.execute(_TIDY, {"most": _PIECE})).scalar_one())
