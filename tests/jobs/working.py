"""Jobs made as their way in makes them, and workers that run them within the test's process."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from fanfold.core.identifiers import uuid7
from fanfold.fanout.types import Chunk, FanOutRequest, FoldOptions, Upstream
from fanfold.jobs.calls import Tools
from fanfold.jobs.lane import JobLane
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.stored import StoredChunk, StoredRequest, encode_chunks
from fanfold.jobs.taken import Claiming
from fanfold.jobs.turn_repository import TurnRepository
from fanfold.jobs.types import JobReference, JobSource, NewJob, Part
from fanfold.jobs.worker import JobWorker
from fanfold.tenants.periods import Period
from fanfold.upstreams.directory import UpstreamDirectory
from tests.fixtures.app import Product, TenantClient
from tests.jobs.making import answered, claim, reference
from tests.usage.books import Books

PATIENCE_S = 60
_DUE = """
select extract(epoch from execute_after - now()) from fanfold.pgqueuer where dedupe_key = $1
"""


@dataclass
class Jobs:
    """Makes jobs of one tenant, and reads what became of them."""

    product: Product
    tenant: TenantClient
    lane: JobLane
    books: Books

    def sealing(self, job: UUID) -> JobSealing:
        return JobSealing(self.product.app.state.key_ring, self.tenant.id, job)

    async def zoo(self, path: str, *, units: int = 1, tag: str = "", **options: Any) -> str:
        """Register an animal of the zoo, and return its slug."""
        query = options.pop("query", {}) | ({"tag": tag} if tag else {})
        url = self.product.zoo.url(path, **query)
        return str((await self.tenant.upstream(url, units_per_call=units, **options))["slug"])

    async def upstream(self, slug: str) -> Upstream:
        directory: UpstreamDirectory = self.product.app.state.upstream_directory
        directory.forget(self.tenant.id)
        found = (await directory.of(self.tenant.id)).find(slug)
        assert found is not None
        return replace(found, credential=None)

    async def make(
        self,
        texts: Sequence[str],
        *slugs: str,
        each: int = 50,
        ids: Sequence[str] = (),
        fold: FoldOptions | None = None,
        changes: dict[str, Any] | None = None,
        **options: Any,
    ) -> UUID:
        """Make a job of these chunks, in parts of so many."""
        job = uuid7()
        upstreams = tuple([await self.upstream(slug) for slug in slugs])
        asked = FanOutRequest(
            text="", upstreams=upstreams, fold=fold or FoldOptions(), owner=str(self.tenant.id), **options
        )
        parts = [part async for part in self._parts(job, asked, texts, each, ids)]
        calls = sum(part.calls for part in parts)
        fan_out = self.product.app.state.fan_out
        most = sum(part.units_max for part in parts) + fan_out.fold_units_max(asked.fold, answers=calls)
        units = most if asked.max_units is None else min(most, asked.max_units)
        request = self.sealing(job).seal(Sealed.REQUEST, StoredRequest(fan_out=asked).encode())
        values: dict[str, Any] = {
            "tenant_id": self.tenant.id, "id": job, "source": JobSource.JSON, "metadata": {}, "request": request,
            "api_key_id": None, "total": calls, "characters": sum(map(len, texts)), "units": units, "units_max": most,
            "weight": 1, "retention_days": 7, "max_stored_bytes": 10**9, "parts": parts,
            "stored_bytes": len(request) + sum(len(part.body) for part in parts),
        }  # fmt: skip
        await self.lane.create(NewJob(**values | (changes or {})), period=Period.MONTH)
        return job

    async def _parts(
        self, job: UUID, asked: FanOutRequest, texts: Sequence[str], each: int, ids: Sequence[str]
    ) -> AsyncIterator[Part]:
        for place, first in enumerate(range(0, len(texts), each)):
            chunks = [
                StoredChunk(number, 0, len(text), text, ids[number] if ids else None)
                for number, text in enumerate(texts[first : first + each], first)
            ]
            plan = await self.product.app.state.fan_out.plan_chunks(
                asked, tuple(Chunk(one.index, 0, one.end, one.text) for one in chunks), whole=len(texts)
            )
            body = self.sealing(job).seal(Sealed.PART, encode_chunks(chunks), place)
            yield Part(place, plan.calls[0].index, len(plan.calls), plan.units_max, body)

    async def row(self, job: UUID) -> Any:
        (row,) = [row for row in await self.books.rows("jobs", self.tenant.id) if row["id"] == job]
        return row

    def worker(self, *, bounds: dict[str, Any] | None = None, **claiming: Any) -> JobWorker:
        connect = self.product.app.state.database.connect
        own = replace(tools(self.product, self.lane, **claiming), **(bounds or {}))
        return JobWorker(own, connect, at_once=4)

    async def run(self, job: UUID, *, bounds: dict[str, Any] | None = None, **claiming: Any) -> Any:
        """Let a worker work until the job has ended, and return its row."""
        async with working(self.worker(bounds=bounds, **claiming)):
            return await self.ended(job)

    async def reference(self, job: UUID) -> JobReference:
        return reference({**await self.row(job), "id": job})

    @asynccontextmanager
    async def taken_by_hand(self, job: UUID) -> AsyncIterator["Hand"]:
        """Have the job as a worker has it, until the body ends."""
        async with self.books.app() as connection:
            mine = await claim(connection, self.tenant.id)
            assert mine is not None
            assert mine.id == job
            yield Hand(self, mine)
            leave = "select fanfold.job_leave($1, $2, $3, 'next', null, 5)"
            assert await connection.fetchval(leave, mine.tenant_id, mine.id, mine.fence)
            await connection.fetchval("select fanfold.job_turn_next($1, 4)", self.tenant.id)

    async def take_away(self, job: UUID) -> int:
        """Let the lease of a running job lapse, and take it as another worker does; returns the new fence."""
        # In one transaction: no sign of life of its worker comes between the two.
        async with self.books.superuser() as connection, connection.transaction():
            await connection.execute(
                "update fanfold.jobs set lease_until = now() - interval '1 s' where id = $1", job
            )
            mine = await claim(connection, self.tenant.id)
        assert mine is not None
        return mine.fence

    async def lapse(self, job: UUID) -> None:
        """Let what is held for a job be swept."""
        async with self.books.superuser() as connection:
            await connection.execute("update fanfold.reservations set expires_at = now() where id = $1", job)
        await self.product.sweep()

    async def due_in_s(self) -> float:
        """Return the seconds until the next turn that waits; 0 where none does."""
        async with self.books.app() as connection:
            return float(await connection.fetchval(_DUE, str(self.tenant.id)) or 0.0)

    async def queue_now(self) -> None:
        async with self.books.superuser() as connection:
            await connection.fetchval("select fanfold.job_turn_queue($1, now())", self.tenant.id)

    async def ended(self, job: UUID, *, within_s: float = PATIENCE_S) -> Any:
        """Wait for its end, and return its row."""
        async with asyncio.timeout(within_s):
            while not (row := await self.row(job))["ended_at"]:
                await asyncio.sleep(0.02)
        return row

    async def until(self, job: UUID, *, results: int) -> Any:
        """Wait until it has so many results."""
        async with asyncio.timeout(PATIENCE_S):
            while (row := await self.row(job))["successful"] + row["failed"] < results:
                await asyncio.sleep(0.005)
        return row

    async def until_calls(self, job: UUID) -> None:
        """Wait until a worker has calls of it under way."""
        async with asyncio.timeout(PATIENCE_S):
            while not (await self.row(job))["open_calls"]:
                await asyncio.sleep(0.005)

    async def results(self, job: UUID) -> dict[int, dict[str, Any]]:
        rows = [row for row in await self.books.rows("job_results", self.tenant.id) if row["job_id"] == job]
        sealing = self.sealing(job)
        return {
            row["call_index"]: orjson.loads(sealing.open(Sealed.RESULT, row["body"], row["call_index"]))
            for row in sorted(rows, key=lambda row: row["call_index"])
        }

    async def output(self, job: UUID) -> Any:
        return orjson.loads(self.sealing(job).open(Sealed.OUTPUT, (await self.row(job))["output"]))

    async def error_codes(self, job: UUID) -> list[str]:
        """Return the code of each result's error, `ok` where there is none."""
        results = (await self.results(job)).values()
        return [one["error"]["code"] if one["error"] else "ok" for one in results]

    async def outcomes(self) -> list[Any]:
        return list(await self.books.rows("outcomes", self.tenant.id))

    async def check(self, job: UUID, *, units: int) -> None:
        """Nothing is held for it any more, and it is billed what it says."""
        quota = await self.books.quota(self.tenant.id)
        assert (quota["reserved"], quota["used"]) == (0, units)
        assert (await self.row(job))["units"] == units
        await self.books.check_truths(self.tenant.id)


@dataclass(frozen=True)
class Hand:
    """A job taken by hand."""

    jobs: Jobs
    job: JobReference

    async def record(self, index: int, answer: str, *, units: int = 1) -> None:
        """Record an answer as a worker does."""
        body = orjson.dumps({"index": index, "start": 0, "end": 1, "result": answer, "error": None})
        sealed = self.jobs.sealing(self.job.id).seal(Sealed.RESULT, body, index)
        call = answered(index, units=units)._replace(body=sealed)
        assert await self.jobs.lane.record(self.job, [call])


def tools(product: Product, lane: JobLane, **claiming: Any) -> Tools:
    state = product.app.state
    return Tools(
        repository=TurnRepository(state.database),
        lane=lane,
        fan_out=state.fan_out,
        upstreams=state.upstream_directory,
        key_ring=state.key_ring,
        claiming=Claiming(worker_id=uuid7(), **claiming),
        count_calls=lambda _code, _calls: None,
    )


@asynccontextmanager
async def working(worker: JobWorker) -> AsyncIterator[JobWorker]:
    """Let a worker work while the body runs, then stop it in order."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            worker.cut_off()
