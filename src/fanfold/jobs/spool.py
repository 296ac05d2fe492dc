"""A job's input on its way into rows: some chunks to a part, each part sealed and stored by itself."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from sqlalchemy import delete, insert

from fanfold.core.db import Database
from fanfold.jobs.errors import StorageFull
from fanfold.jobs.models import JobPart
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.stored import StoredChunk, encode_chunks
from fanfold.jobs.types import Part

# What a worker's turn takes at once.
PART_CALLS = 50
PART_BYTES = 256 * 1024
# Together with what else is committed with a job. More than that is stored before, row by row.
_AT_ONCE = 1024 * 1024


class Spool:
    """The parts of one job that is being made: kept while they are few, in rows of their own when they are more.

    A row is a transaction: no connection waits for a client. What never becomes a job is purged by the age of its id.
    """

    def __init__(
        self, database: Database, sealing: JobSealing, *, tenant_id: UUID, job_id: UUID, max_bytes: int
    ) -> None:
        self._database, self._sealing = database, sealing
        self._tenant_id, self._job_id, self._max_bytes = tenant_id, job_id, max_bytes
        self._kept: list[Part] = []
        self._kept_bytes = 0
        self._place = 0
        self._is_stored = False
        self.stored_bytes = 0

    async def add(
        self, chunks: Sequence[StoredChunk], *, first_index: int, calls: int, units_max: int
    ) -> None:
        """Take the next part. Raises `StorageFull` where the tenant could store no more even if it had nothing yet."""
        body = self._sealing.seal(Sealed.PART, encode_chunks(chunks), self._place)
        self._kept.append(Part(self._place, first_index, calls, units_max, body))
        self._place += 1
        self._kept_bytes += len(body)
        self.stored_bytes += len(body)
        if self.stored_bytes > self._max_bytes:
            raise StorageFull(self._max_bytes)
        if self._is_stored or self._kept_bytes > _AT_ONCE:
            await self._store()

    def rest(self) -> Sequence[Part]:
        """Return the parts that are not stored: all, or none."""
        return self._kept

    async def discard(self) -> None:
        """Remove what was stored: it does not become a job."""
        if self._is_stored:
            async with self._database.session(self._tenant_id) as session, session.begin():
                mine = (JobPart.tenant_id == self._tenant_id, JobPart.job_id == self._job_id)
                await session.execute(delete(JobPart).where(*mine))

    async def _store(self) -> None:
        self._is_stored = True
        while self._kept:
            part = self._kept[0]
            row = {
                "tenant_id": self._tenant_id,
                "job_id": self._job_id,
                "place": part.place,
                "first_index": part.first_index,
                "calls": part.calls,
                "missing": part.calls,
                "units_max": part.units_max,
                "body": part.body,
            }
            async with self._database.session(self._tenant_id) as session, session.begin():
                await session.execute(insert(JobPart).values(row))
            del self._kept[0]


def portions(chunks: Sequence[StoredChunk], *, most: int) -> Iterator[Sequence[StoredChunk]]:
    """Yield chunks as parts take them: at most so many, and about 256 KiB of text where that is more than one."""
    first = size = 0
    for place, chunk in enumerate(chunks):
        added = len(chunk.text.encode())
        if place > first and (place - first == most or size + added > PART_BYTES):
            yield chunks[first:place]
            first, size = place, 0
        size += added
    if first < len(chunks):
        yield chunks[first:]
