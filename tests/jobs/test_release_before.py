"""Servers of the release before work on beside those of this one: what they call is there, and does what it did."""

from typing import Any

import asyncpg

from fanfold.jobs.types import Ending, JobStatus, NewJob, RecordedCall
from fanfold.usage.encoding import encode
from fanfold.usage.items import Item, Operation
from tests.jobs.making import answered, claim, job_row, new_job, turns_of
from tests.usage.books import Books

# As they send it.
_COMMIT = """
select status, remaining, quota_warning, budget_warning
  from fanfold.jobs_commit(
  $1::text::uuid[], $2::text::date[], $3::text::integer[], $4::text::uuid[],
  $5::text::fanfold.ledger_operation[], $6::text::fanfold.ledger_reading[],
  coalesce($7::fanfold.ledger_claim[], '{}'), coalesce($8::fanfold.ledger_mark[], '{}')
, $9, $10, $11, $12)
"""
_RECORD, _END = 1, 2


def _new(job: NewJob) -> tuple[Any, ...]:
    return (
        1, job.source, "{}", job.request, job.api_key_id, job.total, job.characters, job.units_max, job.weight,
        job.retention_days, job.stored_bytes, job.max_stored_bytes,
    )  # fmt: skip


def _answer(number: int, call: RecordedCall) -> tuple[Any, ...]:
    return (1, number, call.call_index, call.success, sum(event.units for event in call.events), call.body)


async def test_they_make_a_job_work_on_it_and_end_it(books: Books, worker: asyncpg.Connection):
    tenant = await books.new_tenant(100)
    job = new_job(tenant, calls=2, each=1)
    period = await worker.fetchval("select date_trunc('month', now() at time zone 'utc')::date")
    calls = [answered(0), answered(1)]
    ending = Ending(status=JobStatus.SUCCEEDED, output=b"sealed")

    async def commit(operation: Operation, *rows: Any, **members: Any) -> int:
        item = Item(
            operation=operation, tenant_id=tenant, request_id=job.id, period_start=period, **members
        )  # fmt: skip
        return int((await worker.fetchrow(_COMMIT, *encode([item]), *rows))["status"][0])

    parts = [(1, *part) for part in job.parts]
    assert await commit(Operation.RESERVE, [_new(job)], parts, [], [], units=2, lease_s=60) == 0
    (turn,) = await turns_of(books, tenant)
    await worker.execute("select fanfold.job_turn_begin($1)", turn["id"])
    taken = await claim(worker, tenant)
    assert taken is not None
    standing = "select units, needed, period, successful from fanfold.job_standing($1, $2, $3)"
    assert tuple(await worker.fetchrow(standing, tenant, job.id, period)) == (2, 2, "month", 0)
    await worker.execute("select fanfold.job_turn_next($1, 4)", tenant)
    record = (1, _RECORD, taken.fence, 2, 2, None, None, None, None)
    answers = [_answer(number, call) for number, call in enumerate(calls)]
    events = [event for call in calls for event in call.events]
    await commit(Operation.PART, [], [], [record], answers, events=events)
    end = (1, _END, taken.fence, 0, 0, ending.status, None, ending.output, None)
    assert await commit(Operation.SETTLE, [], [], [end], []) == 0

    row = await job_row(books, tenant)
    assert (row["status"], row["successful"], row["units"], row["output"]) == ("succeeded", 2, 2, b"sealed")
    assert [part["missing"] for part in await books.rows("job_parts", tenant)] == [0, 0]
    bodies = sorted(result["body"] for result in await books.rows("job_results", tenant))
    assert bodies == [call.body for call in calls]
    await books.check_truths(tenant)
