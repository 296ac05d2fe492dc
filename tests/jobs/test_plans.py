"""The danger of a plan made while rows are few: what a job has by now is gone through whole for each batch of it."""

from collections.abc import AsyncIterator, Iterable, Sequence

import asyncpg
import pytest

from fanfold.jobs.lane import JobLane
from fanfold.jobs.riders import COMMIT, Turn, TurnKind, encode_batch
from fanfold.jobs.types import JobReference
from fanfold.usage.items import Item, Operation
from tests.fixtures.database import TestDatabase
from tests.jobs.making import answered, claim, create
from tests.usage.books import Books

_READ = "select relname, idx_tup_fetch from pg_stat_xact_user_tables where schemaname = 'fanfold'"
_BATCH, _BATCHES = 100, 11


def _record(job: JobReference, calls: Iterable[int]) -> Item:
    results = [answered(index) for index in calls]
    turn = Turn(kind=TurnKind.RECORD, fence=job.fence, results=results)
    return Item(
        operation=Operation.PART, tenant_id=job.tenant_id, request_id=job.id, period_start=job.period_start,
        events=[event for result in results for event in result.events], rider=turn,
    )  # fmt: skip


async def _read(connection: asyncpg.Connection) -> dict[str, int]:
    return {row["relname"]: row["idx_tup_fetch"] or 0 for row in await connection.fetch(_READ)}


_FEW_EVENTS = """
insert into fanfold.usage_events
       (tenant_id, request_id, call_index, meter, period_start, units, due_units, outcome, quantity, upstream)
select gen_random_uuid(), gen_random_uuid(), 0, 'calls', date_trunc('month', now() at time zone 'utc')::date, 0, 0,
       'billed', 1, 'few'
  from generate_series(1, 3000)
"""
_FEW_RESULTS = """
insert into fanfold.job_results (tenant_id, job_id, call_index, seq, success, units, body)
select gen_random_uuid(), gen_random_uuid(), 0, 1, true, 0, 'few' from generate_series(1, 3000)
"""


@pytest.fixture
async def few_rows_each(books: Books) -> AsyncIterator[None]:
    """Let the planner believe that a tenant has next to no events, and a job next to no results."""
    async with books.superuser() as superuser:
        await superuser.execute(_FEW_EVENTS)
        await superuser.execute(_FEW_RESULTS)
        await superuser.execute("vacuum analyze fanfold.usage_events, fanfold.job_results")
        yield
        await superuser.execute("delete from fanfold.usage_events where upstream = 'few'")
        await superuser.execute("delete from fanfold.job_results where body = 'few'")
        await superuser.execute("vacuum analyze fanfold.usage_events, fanfold.job_results")


# One after the other, and as they come where what failed here and there is made once more.
_CALLS = range(_BATCH * _BATCHES)
_IN_ORDER = [_CALLS[first : first + _BATCH] for first in _CALLS[::_BATCH]]
_FAR_APART = [_CALLS[first::_BATCHES] for first in range(_BATCHES)]


@pytest.mark.parametrize("batches", [_IN_ORDER, _FAR_APART], ids=["in order", "far apart"])
@pytest.mark.usefixtures("few_rows_each")
async def test_a_batch_of_results_looks_at_none_that_is_there(
    books: Books, lane: JobLane, worker: asyncpg.Connection, batches: Sequence[range]
):
    tenant = await books.new_tenant(10_000)
    await create(lane, tenant, calls=_BATCH * _BATCHES, each=50)
    job = await claim(worker, tenant)
    assert job is not None
    flush = await worker.prepare(COMMIT)
    for batch in batches[:-1]:
        await flush.fetchrow(*encode_batch([_record(job, batch)]))
    async with worker.transaction():
        before = await _read(worker)
        await flush.fetchrow(*encode_batch([_record(job, batches[-1])]))
        after = await _read(worker)
    looked_at = {name: after[name] - before.get(name, 0) for name in after}
    assert sum(many for name, many in looked_at.items() if name.startswith("usage_events")) == 0
    assert looked_at["job_results"] == 0
    # Two to find them by; and each of those with a result, where they lie side by side.
    parts = {index // 50 for index in batches[-1]}
    assert looked_at["job_parts"] <= 2 + len(parts)
    assert len(await books.rows("job_results", tenant)) == _BATCH * _BATCHES


@pytest.fixture
async def own_books(own_database: TestDatabase) -> Books:
    """Books of a database of which nobody has ever gathered statistics."""
    return Books(own_database)


@pytest.mark.parametrize("analysed", [False, True])
async def test_a_batch_of_a_large_job_finds_its_parts(own_books: Books, *, analysed: bool):
    """A job of 100,000 calls is the first of its server: it has 2,000 parts, and the planner knows of none at first."""
    parts, each = 2_000, 50
    tenant = await own_books.new_tenant(parts * each)
    async with own_books.superuser() as superuser:
        await superuser.execute("alter table fanfold.job_parts set (autovacuum_enabled = false)")
    async with JobLane(own_books.connect) as lane, own_books.app() as connection:
        await create(lane, tenant, calls=parts * each, each=each)
        job = await claim(connection, tenant)
        assert job is not None
        if analysed:
            async with own_books.superuser() as superuser:
                await superuser.execute("vacuum analyze fanfold.job_parts")
        batch = range(90_050, 90_150)
        async with connection.transaction():
            before = await _read(connection)
            await connection.fetchrow(COMMIT, *encode_batch([_record(job, batch)]))
            after = await _read(connection)
    # Two to find them by, and those two.
    assert after["job_parts"] - before.get("job_parts", 0) <= 4
    missing = {row["place"]: row["missing"] for row in await own_books.rows("job_parts", tenant)}
    assert [place for place, many in missing.items() if many != each] == [1_801, 1_802]
