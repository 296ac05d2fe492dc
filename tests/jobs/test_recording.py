"""Results on their way into rows: who leaves a job waits for those that are being written."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import cast
from uuid import UUID

import pytest

from fanfold.core.errors import NotReady
from fanfold.jobs.lane import JobLane
from fanfold.jobs.recording import MAX_RESULTS, Recorder
from fanfold.jobs.taken import JobLost
from fanfold.jobs.types import JobReference, RecordedCall
from tests.jobs.making import answered

PATIENCE_S, FOR_EVER_S = 30.0, 3600.0
JOB = JobReference(tenant_id=UUID(int=1), id=UUID(int=2), fence=1, period_start=date(2026, 11, 1))


class SlowLane:
    """Writes when it is told to, and says then whether the job is still theirs."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.written: list[int] = []

    async def record(self, _job: JobReference, results: Sequence[RecordedCall]) -> bool:
        self.began.set()
        is_ours = await asyncio.shield(self.answer)
        self.written += [one.call_index for one in results]
        return is_ours


async def _broken_off(lane: SlowLane) -> Recorder:
    """Return a recorder that was stopped while its first result was being written."""
    recorder = Recorder(cast(JobLane, lane), JOB)
    running = asyncio.create_task(recorder.run())
    recorder.add(answered(0))
    await lane.began.wait()
    running.cancel()
    await asyncio.wait({running})
    return recorder


async def test_what_is_being_written_is_waited_for():
    lane = SlowLane()
    recorder = await _broken_off(lane)
    recorder.add(answered(1))
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.wait({flushing}, timeout=0.05)
    assert not flushing.done()
    lane.answer.set_result(True)
    await flushing
    assert lane.written == [0, 1]


async def test_with_nothing_behind_it_too():
    lane = SlowLane()
    recorder = await _broken_off(lane)
    flushing = asyncio.create_task(recorder.flush())
    await asyncio.wait({flushing}, timeout=0.05)
    assert not flushing.done()
    lane.answer.set_result(True)
    await flushing
    assert lane.written == [0]


async def test_that_the_job_was_lost_meanwhile_is_told():
    lane = SlowLane()
    recorder = await _broken_off(lane)
    lane.answer.set_result(False)
    with pytest.raises(JobLost):
        await recorder.flush()


async def test_a_write_that_failed_is_told_once():
    lane = SlowLane()
    recorder = Recorder(cast(JobLane, lane), JOB)
    recorder.add(answered(0))
    lane.answer.set_exception(NotReady("away"))
    with pytest.raises(NotReady):
        await recorder.run()
    await recorder.flush()


class QuickLane:
    """Writes at once; `batches` are what each commit had."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def record(self, _job: JobReference, results: Sequence[RecordedCall]) -> bool:
        self.batches.append([one.call_index for one in results])
        return True


@asynccontextmanager
async def _running(lane: QuickLane, *, gather_s: float) -> AsyncIterator[Recorder]:
    recorder = Recorder(cast(JobLane, lane), JOB, gather_s=gather_s)
    running = asyncio.create_task(recorder.run())
    async with asyncio.timeout(PATIENCE_S):
        yield recorder
    running.cancel()
    await asyncio.wait({running})


async def test_the_first_result_lets_others_come():
    lane = QuickLane()
    async with _running(lane, gather_s=1.0) as recorder:
        for index in range(5):
            recorder.add(answered(index))
            await asyncio.sleep(0)
        while not lane.batches:
            await asyncio.sleep(0.01)
    assert lane.batches == [list(range(5))]


async def test_nobody_who_urges_waits_for_others():
    lane = QuickLane()
    async with _running(lane, gather_s=FOR_EVER_S) as recorder:
        for index in range(3):
            recorder.add(answered(index))
            await asyncio.sleep(0)
            await recorder.drained()
    assert lane.batches == [[0], [1], [2]]


async def test_what_is_full_is_written_at_once_and_has_room_then():
    lane = QuickLane()
    async with _running(lane, gather_s=FOR_EVER_S) as recorder:
        recorder.add(answered(0))
        await asyncio.sleep(0)
        for index in range(1, MAX_RESULTS):
            assert not recorder.is_full
            recorder.add(answered(index))
        assert recorder.is_full
        await recorder.room()
    assert lane.batches == [list(range(MAX_RESULTS))]


async def test_there_is_room_while_a_batch_is_being_written():
    lane = SlowLane()
    recorder = Recorder(cast(JobLane, lane), JOB, gather_s=FOR_EVER_S)
    running = asyncio.create_task(recorder.run())
    for index in range(MAX_RESULTS):
        recorder.add(answered(index))
    async with asyncio.timeout(PATIENCE_S):
        await recorder.room()
        await lane.began.wait()
    assert not recorder.is_full
    lane.answer.set_result(True)
    await recorder.drained()
    assert lane.written == list(range(MAX_RESULTS))
    running.cancel()
    await asyncio.wait({running})
