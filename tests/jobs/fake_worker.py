"""Jobs of a product's tenants made without their way in, and a worker that answers as it is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from fanfold.core.identifiers import uuid7
from fanfold.fanout.types import FanOutRequest
from fanfold.jobs.lane import JobLane
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.stored import StoredChunk, StoredRequest, encode_chunks
from fanfold.jobs.types import Ending, JobReference, JobStatus, Part, RecordedCall
from fanfold.tenants.periods import Period
from fanfold.usage.types import UsageEvent
from tests.fixtures.app import Product, TenantClient
from tests.fixtures.database import connect
from tests.jobs.making import claim, new_job

TEXT = "先展开，再折叠 🪭"


def result_of(index: int, *, success: bool = True, **members: Any) -> dict[str, Any]:
    """Return a result as the answer of a process request has it."""
    error = None if success else {"code": "status", "status": 500, "detail": "It answered 500."}
    return {
        "index": index, "start": index * 10, "end": index * 10 + 10, "upstream": "摘要", "url": None,
        "success": success, "result": f"答 {index} 🐼" if success else None, "error": error, "attempts": 1,
        "latency_ms": 1.5,
        "units": int(success), "input_tokens": None, "output_tokens": None, "tokens_counted": False,
        "finish_reason": None, **members,
    }  # fmt: skip


async def make_job(
    product: Product,
    tenant: TenantClient,
    *,
    calls: int = 4,
    each: int = 2,
    text: str = TEXT,
    max_units: int | None = None,
    **changes: Any,
) -> UUID:
    """Make a job of so many calls in parts of `each`, one unit a call; it waits for its turn."""
    lane: JobLane = product.app.state.job_lane
    job_id = uuid7()
    sealing = JobSealing(product.app.state.key_ring, tenant.id, job_id)
    request = StoredRequest(fan_out=FanOutRequest(text="", upstreams=(), max_units=max_units)).encode()
    parts = []
    for place, first in enumerate(range(0, calls, each)):
        many = min(each, calls - first)
        chunks = [StoredChunk(index, 0, 1, text) for index in range(first, first + many)]
        body = sealing.seal(Sealed.PART, encode_chunks(chunks), place)
        parts.append(Part(place, first, many, many, body))
    sealed = sealing.seal(Sealed.REQUEST, request)
    stored = len(sealed) + sum(len(part.body) for part in parts)
    values: dict[str, Any] = {
        "id": job_id, "calls": calls, "parts": parts, "request": sealed, "stored_bytes": stored,
        "max_stored_bytes": 10**9,
    }  # fmt: skip
    await lane.create(new_job(tenant.id, **values | changes), period=Period.MONTH)
    return job_id


@dataclass(slots=True)
class FakeWorker:
    """Does with a job what a worker does, as the test says it: the same functions, the same lane."""

    product: Product
    tenant: TenantClient
    connection: asyncpg.Connection
    taken: JobReference | None = None

    @property
    def lane(self) -> JobLane:
        lane: JobLane = self.product.app.state.job_lane
        return lane

    @property
    def job(self) -> JobReference:
        assert self.taken is not None
        return self.taken

    @property
    def sealing(self) -> JobSealing:
        return JobSealing(self.product.app.state.key_ring, self.tenant.id, self.job.id)

    async def take(self, **more: Any) -> JobReference:
        """Take the tenant's next job, which must be there."""
        self.taken = await claim(self.connection, self.tenant.id, **more)
        return self.job

    async def record(self, *results: dict[str, Any]) -> bool:
        """Record results, each with one unit where it succeeded."""
        return await self.lane.record(self.job, [self._call(result) for result in results])

    def _call(self, result: dict[str, Any]) -> RecordedCall:
        index, success = result["index"], result["success"]
        body = self.sealing.seal(Sealed.RESULT, orjson.dumps(result), index)
        event = UsageEvent(
            call_index=index, meter="calls", units=result["units"], quantity=1, upstream="摘要"
        )
        return RecordedCall(index, success, body, 1, (event,) if success else ())

    async def end(self, status: JobStatus = JobStatus.SUCCEEDED, output: Any = None, **more: Any) -> bool:
        """End the job."""
        sealed = None if output is None else self.sealing.seal(Sealed.OUTPUT, orjson.dumps(output))
        return await self.lane.end(self.job, Ending(status=status, output=sealed, **more))

    async def leave(self, how: str, *, error: str | None = None, attempts: int = 5) -> bool:
        """Leave the job: `next`, `failed` or `paused`."""
        statement = "select fanfold.job_leave($1, $2, $3, $4, $5, $6)"
        job = self.job
        left: bool = await self.connection.fetchval(
            statement, job.tenant_id, job.id, job.fence, how, error, attempts
        )
        return left

    async def run(
        self, *results: dict[str, Any], status: JobStatus = JobStatus.SUCCEEDED, **more: Any
    ) -> UUID:
        """Take the next job, record these results, end it."""
        await self.take()
        assert await self.record(*results)
        assert await self.end(status, **more)
        return self.job.id


@asynccontextmanager
async def fake_worker(product: Product, tenant: TenantClient) -> AsyncIterator[FakeWorker]:
    """A worker for one tenant's jobs."""
    connection = await connect(product.database.app_url)
    try:
        yield FakeWorker(product, tenant, connection)
    finally:
        await connection.close()


async def make_dead_job(product: Product, tenant: TenantClient, **more: Any) -> UUID:
    """Make a job whose only attempt failed, and whose units are free again."""
    job_id = await make_job(product, tenant, **more)
    async with fake_worker(product, tenant) as worker:
        await worker.take()
        while worker.job.id != job_id:  # another of the tenant's was due before
            await worker.leave("next")
            await worker.take()
        error = {"code": "internal-error", "detail": "An attempt failed."}
        await worker.leave("failed", error=json.dumps(error), attempts=1)
        held = "select count(*) from fanfold.reservations where id = $1"
        superuser = await connect(product.database.superuser_url)
        try:
            async with asyncio.timeout(30):
                while await superuser.fetchval(held, job_id):  # the application's own sweeper may be at it
                    await product.sweep()
        finally:
            await superuser.close()
    return job_id
