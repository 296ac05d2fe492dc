"""One look for all: how far the events of the jobs go that somebody of this process watches just now."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import text

from fanfold.core.chores import Chore
from fanfold.core.db import Database
from fanfold.core.drain import Drain
from fanfold.core.errors import NotReady

EVERY_S = 0.25
_AWAY_PAUSE_S = 1.0
_SEEN = text("select tenant_id, id, seq from fanfold.jobs_seen(:tenants, :jobs)")


@dataclass(slots=True)
class Watched:
    """A job that somebody watches; `seq` is the number of its last event at the last look, None before the first."""

    readers: int = 0
    seq: int | None = None
    is_gone: bool = False
    is_over: bool = False
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def goes_beyond(self, seq: int) -> bool:
        """Wait until there is an event after `seq`, or the job is gone; False where the server stops before."""
        while not (self.is_over or self.is_gone or (self.seq is not None and self.seq > seq)):
            await self._changed.wait()
        return not self.is_over

    def tell(self, seq: int | None) -> None:
        """Wake who waits where the job went on, or is gone (None)."""
        if seq is None:
            self.is_gone = True
        elif seq == self.seq:
            return
        else:
            self.seq = seq
        self._wake()

    def end(self) -> None:
        """Let go who waits: the server stops."""
        self.is_over = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class JobWatch(Chore):
    """Looks four times a second at all jobs that are watched, in one query, and not at all where none is.

    `looks` is how often it asked the database.
    """

    refused = "Looking at jobs that are watched failed."

    def __init__(self, database: Database, *, every_s: float = EVERY_S) -> None:
        super().__init__(every_s=every_s)
        self._database = database
        self._watched: dict[tuple[UUID, UUID], Watched] = {}
        self._drain: Drain | None = None
        self.looks = 0

    @property
    def watched(self) -> int:
        """How many jobs are watched."""
        return len(self._watched)

    @contextmanager
    def watching(self, tenant_id: UUID, job_id: UUID, drain: Drain) -> Iterator[Watched]:
        """Watch a job while the body runs; who waits is let go when the process begins to stop."""
        self._drain = drain
        key = (tenant_id, job_id)
        watched = self._watched.setdefault(key, Watched())
        watched.readers += 1
        try:
            yield watched
        finally:
            watched.readers -= 1
            if not watched.readers:
                del self._watched[key]

    async def piece(self) -> int:
        """Look once, and wake who has something to read; there is never more to do."""
        if not self._watched:
            return 0
        asked = dict(self._watched)
        if self._drain is not None and self._drain.has_begun:
            for watched in asked.values():
                watched.end()
            return 0
        tenants, jobs = [tenant for tenant, _ in asked], [job for _, job in asked]
        self.looks += 1
        try:
            async with self._database.begin() as connection:
                rows = (await connection.execute(_SEEN, {"tenants": tenants, "jobs": jobs})).all()
        except NotReady:
            await asyncio.sleep(_AWAY_PAUSE_S)
            raise
        seen = {(row.tenant_id, row.id): row.seq for row in rows}
        for key, watched in asked.items():
            watched.tell(seen.get(key))
        return 0
