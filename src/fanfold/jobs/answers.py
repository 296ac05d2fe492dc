"""Jobs as they are answered: what is sealed in them is opened here, off the event loop where it is much.

Each page is read in a transaction of its own, and no connection is held while a client reads it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from uuid import UUID

import orjson

from fanfold.core.crypto import KeyRing
from fanfold.core.db import Database
from fanfold.core.errors import NotFound
from fanfold.core.offload import Offload
from fanfold.jobs.mapping import read_job
from fanfold.jobs.models import JobRow
from fanfold.jobs.reading import FoldSums, JobReading, ResultsPage, SealedResult
from fanfold.jobs.schemas import JobRead
from fanfold.jobs.sealing import JobSealing, Sealed

# A millisecond of the loop's time is enough for so many bytes.
_MUCH_BYTES = 256 * 1024
_NO_SUCH_JOB = "There is no such job."
# Results of a page of NDJSON.
LINES = 200


def no_such_job() -> NotFound:
    """Return the refusal of an id that is no job of the tenant's, by now or ever."""
    return NotFound(_NO_SUCH_JOB)


class JobAnswers:
    """Answers about jobs of one process's tenants."""

    def __init__(self, database: Database, key_ring: KeyRing, offload: Offload) -> None:
        self._database, self._key_ring, self._offload = database, key_ring, offload

    async def job(self, tenant_id: UUID, job_id: UUID) -> JobRead:
        """Return a job without its texts and answers; a 404 where there is none."""
        async with self._database.session(tenant_id) as session:
            return read_job(await _found(JobReading(session), tenant_id, job_id))

    async def detail(self, tenant_id: UUID, job_id: UUID) -> Sequence[bytes]:
        """Return a job as JSON, with output and fold once it has ended, in pieces; a 404 where there is none."""
        row, ending = await self._with_ending(tenant_id, job_id)
        return [_head(row), *(ending or [b'"output":null,"fold":null}'])]

    async def ended(self, tenant_id: UUID, job_id: UUID) -> Sequence[bytes] | None:
        """Return a job that has ended as `detail` does; None where it has not, or runs again."""
        row, ending = await self._with_ending(tenant_id, job_id)
        return [_head(row), *ending] if ending else None

    async def _with_ending(self, tenant_id: UUID, job_id: UUID) -> tuple[JobRow, Sequence[bytes] | None]:
        async with self._database.session(tenant_id) as session, session.begin():
            reading = JobReading(session)
            row = await _found(reading, tenant_id, job_id)
            if row.ended_at is None:
                return row, None
            sums, sealed = await reading.folded(row)
        output = b"null" if sealed is None else await self._opened_output(row, sealed)
        return row, [b'"output":', output, b',"fold":', _encode_fold(row, sums), b"}"]

    async def results(
        self, tenant_id: UUID, job_id: UUID, *, after: int, most: int, success: bool | None
    ) -> tuple[list[bytes], int | None]:
        """Return a page of results, each as JSON, and the call that the next page follows; a 404 without the job."""
        async with self._database.session(tenant_id) as session, session.begin():
            reading = JobReading(session)
            row = await _found(reading, tenant_id, job_id)
            page = await reading.results(row, after=after, most=most, success=success)
        opened = await self.opened(tenant_id, job_id, page.results)
        return opened, _last(page)

    async def lines(
        self,
        tenant_id: UUID,
        job_id: UUID,
        page: tuple[Sequence[bytes], int | None],
        *,
        success: bool | None,
    ) -> AsyncIterator[bytes]:
        """Yield a page, and all that follow it, as NDJSON; ends in a `NotFound` where the job is deleted meanwhile."""
        results, last = page
        yield b"".join(result + b"\n" for result in results)
        while last is not None:
            results, last = await self.results(tenant_id, job_id, after=last, most=LINES, success=success)
            yield b"".join(result + b"\n" for result in results)

    async def opened(self, tenant_id: UUID, job_id: UUID, results: Sequence[SealedResult]) -> list[bytes]:
        """Return each result as the JSON it was recorded as."""
        sealing = JobSealing(self._key_ring, tenant_id, job_id)

        def open_all() -> list[bytes]:
            return [sealing.open(Sealed.RESULT, each.body, each.call_index) for each in results]

        if sum(len(each.body) for each in results) < _MUCH_BYTES:
            return open_all()
        return await self._offload.run(open_all)

    async def _opened_output(self, row: JobRow, sealed: bytes) -> bytes:
        sealing = JobSealing(self._key_ring, row.tenant_id, row.id)
        if len(sealed) < _MUCH_BYTES:
            return sealing.open(Sealed.OUTPUT, sealed)
        return await self._offload.run(sealing.open, Sealed.OUTPUT, sealed)


def page_of(results: Sequence[bytes], next_cursor: str | None) -> Iterator[bytes]:
    """Yield a page as JSON, result by result."""
    yield b'{"data":['
    for place, result in enumerate(results):
        yield b"," * (place > 0) + result
    yield b'],"next_cursor":' + orjson.dumps(next_cursor) + b"}"


async def _found(reading: JobReading, tenant_id: UUID, job_id: UUID) -> JobRow:
    row = await reading.find(tenant_id, job_id)
    if row is None:
        raise no_such_job()
    return row


def _last(page: ResultsPage) -> int | None:
    return page.results[-1].call_index if page.has_more else None


def _head(row: JobRow) -> bytes:
    return read_job(row).model_dump_json().encode()[:-1] + b","


def _encode_fold(row: JobRow, sums: FoldSums) -> bytes:
    return orjson.dumps({"calls": sums.calls, "units": sums.units, "error": row.fold_error})
