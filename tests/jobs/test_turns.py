"""How long a job's turn is: as its plan weighs, where others wait; to its end where nobody does."""

import pytest

from fanfold.core.identifiers import uuid7
from fanfold.jobs.turn import MOST_WEIGHT, TURN_CALLS
from tests.jobs.working import Jobs

CALLS = TURN_CALLS * MOST_WEIGHT + 50


async def _one_turn(jobs: Jobs, *, others_wait: bool) -> None:
    """Let a worker take the tenant's turn, and no other."""
    mine, other = str(jobs.tenant.id), uuid7()
    async with jobs.books.superuser() as connection:
        await connection.execute("delete from fanfold.pgqueuer")
        await connection.execute("select fanfold.job_turn_queue($1, now())", jobs.tenant.id)
        turn = await connection.fetchval(
            "update fanfold.pgqueuer set status = 'picked' where dedupe_key = $1 returning id", mine
        )
        if others_wait:
            await connection.execute("select fanfold.job_turn_queue($1, now())", other)
        try:
            await jobs.worker()._on_turn(turn, jobs.tenant.id)
        finally:
            await connection.execute("delete from fanfold.pgqueuer")


@pytest.mark.parametrize(
    ("weight", "calls"), [(1, TURN_CALLS), (2, 2 * TURN_CALLS), (1_000, MOST_WEIGHT * TURN_CALLS)]
)
async def test_where_others_wait_it_is_as_long_as_the_plan_weighs(jobs: Jobs, weight: int, calls: int):
    job = await jobs.make(["字"] * CALLS, await jobs.zoo("ok"), changes={"weight": weight})
    await _one_turn(jobs, others_wait=True)
    row = await jobs.row(job)
    assert (row["successful"], row["status"], row["worker_id"]) == (calls, "running", None)


async def test_where_nobody_waits_it_goes_on_to_the_end(jobs: Jobs):
    job = await jobs.make(["字"] * CALLS, await jobs.zoo("ok"))
    await _one_turn(jobs, others_wait=False)
    row = await jobs.row(job)
    assert (row["successful"], row["status"]) == (CALLS, "succeeded")


@pytest.mark.parametrize(("others_wait", "ended"), [(False, 2), (True, 1)])
async def test_it_goes_on_with_another_job_where_nobody_waits(jobs: Jobs, *, others_wait: bool, ended: int):
    slug = await jobs.zoo("ok")
    made = [await jobs.make(["字"], slug) for _ in range(2)]
    await _one_turn(jobs, others_wait=others_wait)
    rows = [await jobs.row(job) for job in made]
    assert [row["status"] for row in rows].count("succeeded") == ended
