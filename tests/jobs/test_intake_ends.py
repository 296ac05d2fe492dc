"""What becomes of the rows of an upload that is not taken in, whoever is to blame."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fanfold.auth.dependencies import quota_of
from fanfold.auth.principal import Principal
from fanfold.core.errors import Conflict, NotReady, Overloaded, QuotaExhausted
from fanfold.core.offload import Offload
from fanfold.jobs.intake import Asker, Draft, IntakeTools, JobIntake
from fanfold.jobs.intake_schemas import JobOptions
from fanfold.jobs.lane import JobLane
from fanfold.jobs.taking_in import TakingIn
from fanfold.jobs.types import JobSource
from fanfold.processing.selection import AddressPolicy
from fanfold.usage.errors import Insufficient
from tests.jobs.intake import left
from tests.jobs.working import Jobs

LONG = b"some words " * 300_000


class Refusing(JobLane):
    """A lane that answers every job in the same way."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    async def create(self, *_job: Any, **_rest: Any) -> Any:
        raise self._error


async def asker_of(jobs: Jobs) -> Asker:
    (authenticator, *_) = jobs.product.app.state.authenticators
    principal: Principal = await authenticator.authenticate(jobs.tenant.key)
    assert principal.tenant is not None
    return Asker(principal=principal, tenant=principal.tenant, quota=quota_of(principal.tenant))


def tools_of(jobs: Jobs, **changes: Any) -> IntakeTools:
    state = jobs.product.app.state
    tools = IntakeTools(
        fan_out=state.fan_out,
        lane=state.job_lane,
        database=state.database,
        key_ring=state.key_ring,
        upstreams=state.upstream_directory,
        addresses=AddressPolicy(state.address_guard, adhoc_allowed=False),
        background=state.background,
        offload=state.offload,
    )
    return replace(tools, **changes)


async def content(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def take(tools: IntakeTools, draft: Draft, asker: Asker, pieces: AsyncIterator[bytes]) -> None:
    async with draft:
        taking = TakingIn(tools, draft, JobSource.TEXT, asker.tenant.limits, max_line=1000)
        taken = await taking.take(pieces)
        await draft.commit(JobSource.TEXT, taken.sums, None)


async def begun(jobs: Jobs, **changes: Any) -> tuple[IntakeTools, Draft, Asker]:
    await jobs.zoo("ok")
    tools, asker = tools_of(jobs, **changes), await asker_of(jobs)
    return tools, await JobIntake(tools).draft(asker, JobOptions()), asker


@pytest.mark.parametrize(
    ("error", "raised", "stays"),
    [
        (NotReady("away"), NotReady, True),
        (asyncio.CancelledError(), asyncio.CancelledError, True),
        (Overloaded("full"), Overloaded, False),
        (Insufficient(needed=2, remaining=1, period_end=None), QuotaExhausted, False),  # type: ignore[arg-type] # unread
    ],
)
async def test_rows_stay_only_where_nobody_knows_whether_it_was_made(jobs: Jobs, error, raised, stays):
    """A job that is made after all must find its input; what is not is purged by its age."""
    tools, draft, asker = await begun(jobs, lane=Refusing(error))
    with pytest.raises(raised):
        await take(tools, draft, asker, content(LONG))
    assert bool(await left(jobs)) is stays


async def test_an_upload_that_is_cancelled_leaves_nothing(jobs: Jobs):
    tools, draft, asker = await begun(jobs)
    all_sent = asyncio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield LONG
        all_sent.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(take(tools, draft, asker, hanging()))
    await all_sent.wait()
    assert "job_parts" in await left(jobs)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await left(jobs) == {}


async def test_a_full_pool_is_waited_for_in_the_middle_of_an_upload(jobs: Jobs):
    offload = Offload(threads=1, queue=0)
    release = asyncio.Event()
    tools, draft, asker = await begun(jobs, offload=offload)
    loop = asyncio.get_running_loop()

    def busy() -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    held = asyncio.create_task(offload.run(busy))
    taking = asyncio.create_task(take(tools, draft, asker, content(LONG)))
    await asyncio.sleep(0.3)
    assert not taking.done()
    release.set()
    await held
    await taking
    offload.close()
    assert len(await jobs.books.rows("jobs", jobs.tenant.id)) == 1


async def test_what_cannot_be_stored_is_refused_before_all_of_it_has_come(jobs: Jobs):
    jobs.tenant = await jobs.product.tenant(max_stored_bytes=1_500_000)
    tools, draft, asker = await begun(jobs)
    came = 0

    async def without_end() -> AsyncIterator[bytes]:
        nonlocal came
        while came < 100:
            came += 1
            yield b"some words " * 10_000

    with pytest.raises(Conflict):
        await take(tools, draft, asker, without_end())
    assert came < 50
    assert await left(jobs) == {}
