"""What jobs keep, sealed with another key: afterwards the former one opens none of it, and nothing else is changed."""

import asyncio
import secrets
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import SecretStr

from fanfold.core.crypto import KeyRing
from fanfold.core.resealing import Resealing
from fanfold.jobs import resealing
from fanfold.jobs.resealing import reseal_jobs
from fanfold.jobs.sealing import JobSealing, Sealed
from tests.fixtures.app import SECRET, Product, TenantClient
from tests.jobs.fake_worker import FakeWorker, fake_worker, make_job, result_of
from tests.usage.books import Books

NEWER = SecretStr(secrets.token_urlsafe(48))
BOTH, NEW = KeyRing([NEWER, SECRET]), KeyRing([NEWER])
CALLS = 70  # more parts than are sealed anew at a time, and more results


@pytest.fixture
async def tenant(product: Product) -> TenantClient:
    return await product.tenant()


async def sealed_of(books: Books, tenant: TenantClient, job: UUID) -> list[tuple[Sealed, int, bytes]]:
    """Return all that is kept sealed of a job."""
    (row,) = [row for row in await books.rows("jobs", tenant.id) if row["id"] == job]
    parts = [row for row in await books.rows("job_parts", tenant.id) if row["job_id"] == job]
    results = [row for row in await books.rows("job_results", tenant.id) if row["job_id"] == job]
    found = [(Sealed.REQUEST, 0, row["request"]), (Sealed.OUTPUT, 0, row["output"])]
    found += [(Sealed.PART, each["place"], each["body"]) for each in parts]
    found += [(Sealed.RESULT, each["call_index"], each["body"]) for each in results]
    return [each for each in found if each[2] is not None]


async def opened(ring: KeyRing, books: Books, tenant: TenantClient, job: UUID) -> dict[Any, bytes]:
    sealing = JobSealing(ring, tenant.id, job)
    return {
        (what, number): sealing.open(what, body, number)
        for what, number, body in await sealed_of(books, tenant, job)
    }


async def worked(worker: FakeWorker, *, calls: int) -> UUID:
    await worker.take()
    assert await worker.record(*(result_of(index) for index in range(calls)))
    return worker.job.id


async def test_all_of_it_opens_with_the_newest_key_alone_and_is_what_it_was(
    product: Product, books: Books, tenant: TenantClient
):
    job = await make_job(product, tenant, calls=CALLS, each=1)
    async with fake_worker(product, tenant) as worker:
        assert await worked(worker, calls=CALLS) == job
        assert await worker.end(output="一切都好 🪭")
    before = await opened(BOTH, books, tenant, job)
    assert len(before) >= CALLS + 2  # an ended job's parts may have gone
    waiting = await make_job(product, tenant, calls=CALLS, each=1)
    there = len(await sealed_of(books, tenant, waiting))
    assert there == CALLS + 1
    assert await reseal_jobs(product.app.state.database, Resealing(BOTH), tenant.id) == len(before) + there
    assert await opened(NEW, books, tenant, job) == before
    assert len(await opened(NEW, books, tenant, waiting)) == there
    assert await reseal_jobs(product.app.state.database, Resealing(BOTH), tenant.id) == 0


async def test_another_tenants_stays_as_it_is(product: Product, books: Books, tenant: TenantClient):
    other = await product.tenant()
    theirs = await make_job(product, other)
    before = await sealed_of(books, other, theirs)
    await make_job(product, tenant)
    assert await reseal_jobs(product.app.state.database, Resealing(BOTH), tenant.id) == 3
    assert await sealed_of(books, other, theirs) == before


async def test_a_worker_that_has_the_job_meanwhile_goes_on(
    product: Product, books: Books, tenant: TenantClient
):
    await make_job(product, tenant, calls=4)
    async with fake_worker(product, tenant) as worker:
        job = await worked(worker, calls=2)
        assert await reseal_jobs(product.app.state.database, Resealing(BOTH), tenant.id) == 1 + 2 + 2
        assert await worker.record(result_of(2), result_of(3))
        assert await worker.end(output="好")
    assert (await opened(BOTH, books, tenant, job))[Sealed.OUTPUT, 0] == '"好"'.encode()


async def test_one_that_does_not_open_is_counted_and_stays_and_the_rest_is_sealed_anew(
    product: Product, books: Books, tenant: TenantClient
):
    job = await make_job(product, tenant, calls=CALLS, each=1)
    change = "update fanfold.job_parts set body = $2 where job_id = $1 and place = 1"
    (body,) = [each[2] for each in await sealed_of(books, tenant, job) if each[:2] == (Sealed.PART, 1)]
    broken, whole = Resealing(BOTH), Resealing(BOTH)
    async with books.superuser() as connection:
        await connection.execute(change, job, b"\0" * 64)
        assert await reseal_jobs(product.app.state.database, broken, tenant.id) == CALLS  # its request too
        assert (Sealed.PART, 1, b"\0" * 64) in await sealed_of(books, tenant, job)
        await connection.execute(change, job, body)
    assert await reseal_jobs(product.app.state.database, whole, tenant.id) == 1
    assert (broken.not_opened, whole.not_opened) == (1, 0)


class _CutOff(Resealing):
    """Ends at its `left`th value, as a process does that is killed."""

    left = CALLS

    def anew(self, sealed: bytes, *, bound_to: str) -> bytes | None:
        self.left -= 1
        if not self.left:
            raise asyncio.CancelledError
        return super().anew(sealed, bound_to=bound_to)


async def test_cut_off_what_was_done_stays_and_the_rest_follows(product: Product, tenant: TenantClient):
    await make_job(product, tenant, calls=CALLS, each=1)
    with pytest.raises(asyncio.CancelledError):
        await reseal_jobs(product.app.state.database, _CutOff(BOTH), tenant.id)
    done = sum(each.most for each in resealing._KINDS if each.what is Sealed.PART)
    left = await reseal_jobs(product.app.state.database, Resealing(BOTH), tenant.id)
    assert left == CALLS - done > 0


@pytest.mark.parametrize(
    "change",
    [
        "update fanfold.jobs set units = 0",
        "update fanfold.jobs set fence = 9",
        "update fanfold.job_parts set missing = 0",
        "update fanfold.job_results set success = true",
        "delete from fanfold.job_results",
    ],
)
async def test_the_serving_role_may_change_nothing_else_of_them(
    product: Product, books: Books, tenant: TenantClient, change: str
):
    await make_job(product, tenant)
    async with books.app() as connection:
        await connection.execute("select set_config('app.tenant_id', $1, false)", str(tenant.id))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(change)
