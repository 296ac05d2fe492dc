"""What operators watch of all tenants' jobs."""

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database
from fanfold.core.values import value

# A turn that is due is taken within a second or two where a worker has nothing else to do.
STALE_S = 60.0
_FIGURES = text("select queued, running, dead, turns, oldest_s, workers from fanfold.jobs_figures()")


@value(kw_only=True)
class Figures:
    """Jobs by status, turns that wait, the seconds that the oldest of them has been due, workers that have a job."""

    queued: int = 0
    running: int = 0
    dead: int = 0
    turns: int = 0
    oldest_s: float = 0.0
    workers: int = 0

    @property
    def nobody_works(self) -> bool:
        """Whether jobs have waited for long, and no worker has one."""
        return not self.workers and self.oldest_s > STALE_S


async def read_figures(database: Database) -> Figures:
    """Return the figures as they are now."""
    async with database.begin() as connection:
        row = (await connection.execute(_FIGURES)).one()
    return Figures(**row._mapping)  # noqa: SLF001 (SQLAlchemy's public name for a row as a mapping)


class JobFigures(Chore):
    """Reads the figures four times a minute; `now` are those of the last time."""

    refused = "Reading the figures of jobs failed."

    def __init__(self, database: Database, *, every_s: float = 15.0) -> None:
        super().__init__(every_s=every_s)
        self._database = database
        self.now = Figures()

    async def piece(self) -> int:
        """Read them once; there is never more to do."""
        self.now = await read_figures(self._database)
        return 0
