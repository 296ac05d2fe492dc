"""One turn of one job: so many of its calls, then the next tenant's turn; or its end."""

import asyncio
from dataclasses import replace
from functools import partial

from fanfold.core.telemetry.logging import get_logger
from fanfold.fanout.types import Chunk, FanOutRequest, FoldOptions, OnError
from fanfold.jobs.beats import Beats
from fanfold.jobs.calls import JobCalls, Tools
from fanfold.jobs.folding import Folded, JobFold
from fanfold.jobs.patience import patiently
from fanfold.jobs.recording import Recorder
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.stored import StoredRequest, decode_chunks
from fanfold.jobs.taken import JobCounts, JobLost, StoredPart, TakenJob
from fanfold.jobs.types import Ending, JobStatus
from fanfold.processing.encoding import encode_error

# Calls of one turn for each unit of the tenant's weight, of which so many count.
TURN_CALLS = 50
MOST_WEIGHT = 8
_BEFORE_ALL = -1

_log = get_logger(__name__)


class JobTurn:
    """Works on a taken job. `soon` is set when the process is to end: the turn is over with the part it is at."""

    def __init__(
        self, tools: Tools, job: TakenJob, recorder: Recorder, beats: Beats, *, soon: asyncio.Event
    ) -> None:
        self._tools, self._job, self._recorder, self._beats, self._soon = tools, job, recorder, beats, soon
        self._sealing = JobSealing(tools.key_ring, job.tenant_id, job.id)
        stored = StoredRequest.decode(
            self._sealing.open(Sealed.REQUEST, job.request), owner=str(job.tenant_id)
        )
        self._request = replace(stored.fan_out, weight=job.weight, is_background=True)
        self._calls = JobCalls(tools, job, recorder, beats, by_address=stored.by_address)

    async def carry_out(self) -> bool:
        """Make the calls of one turn, and tell whether the job has ended with it; else it goes on later.

        Raises `JobLost`, `JobCancelled`, Insufficient, OverBudget, NotReady, Rejected.
        """
        await self._hold()
        if await self._make_calls():
            await self._end()
            return True
        return False

    async def _hold(self) -> None:
        """Make sure that the units for what is left are held: while nobody worked on the job they may have lapsed."""
        job, asked, held = self._job.reference, self._request, self._job.held
        units = held.units
        if units is None:
            units = held.needed + self._tools.fan_out.fold_units_max(asked.fold, answers=self._job.total)
            if asked.max_units is not None:
                units = min(units, max(0, asked.max_units - held.billed))
            try:
                period_start = await self._tools.lane.renew(job, units=units, period=held.period)
            except LookupError:
                raise JobLost from None
            self._recorder.job = replace(job, period_start=period_start)
        self._calls.units_left = units

    async def _make_calls(self) -> bool:
        """Make calls until the turn is over; tell whether none is left to make."""
        left = TURN_CALLS * min(self._job.weight, MOST_WEIGHT)
        fails = self._request.on_error is OnError.FAIL
        if fails and (await self._counts()).failed:
            return True
        part = await self._part_after(_BEFORE_ALL)
        while part is not None:
            async with asyncio.TaskGroup() as tasks:
                coming = tasks.create_task(self._part_after(part.place))
                made, has_failed = await self._make(part)
            if fails and has_failed:
                return True
            part = coming.result()
            left -= made
            if part is not None and await self._is_over(left):
                return False
        return True

    async def _is_over(self, left: int) -> bool:
        if self._soon.is_set() or self._beats.is_to_wait:
            return True
        # Where nobody waits, the job goes on.
        return left <= 0 and await patiently(self._tools.repository.others_wait)

    async def _part_after(self, place: int) -> StoredPart | None:
        return await patiently(partial(self._tools.repository.next_part, self._job.reference, after=place))

    async def _counts(self) -> JobCounts:
        return await patiently(partial(self._tools.repository.counts, self._job.reference))

    async def _make(self, part: StoredPart) -> tuple[int, bool]:
        """Make the calls of a part that have no result; return how many, and whether any failed."""
        chunks = decode_chunks(self._sealing.open(Sealed.PART, part.body, part.place))
        plan = await self._tools.fan_out.plan_chunks(
            _without_fold(self._request),
            tuple([Chunk(one.index, one.start, one.end, one.text) for one in chunks]),
            whole=self._whole,
        )
        ids = {one.index: one.custom_id for one in chunks if one.custom_id is not None}
        calls = plan.calls
        if part.done:
            calls = tuple([call for call in calls if call.index not in part.done])
        custom_ids = {call.index: ids[call.chunk.index] for call in calls if call.chunk.index in ids}
        made = await self._calls.make(replace(plan, calls=calls), custom_ids=custom_ids)
        return len(calls), False in [result.success for result in made]

    @property
    def _whole(self) -> int:
        """Chunks of the whole job."""
        each = len(self._request.upstreams) if self._request.strategy == "broadcast" else 1
        return self._job.total // each

    async def _end(self) -> None:
        await self._recorder.drained()
        counts = await self._counts()
        folded = Folded(None, None)
        if not (_has_failed(self._request, counts) and self._tools.fan_out.fold_asks(self._request.fold.by)):
            folded = await JobFold(self._tools, self._job, self._request, self._calls).carry_out()
            await self._recorder.drained()
        output = None if folded.output is None else self._sealing.seal(Sealed.OUTPUT, folded.output)
        status = _status(self._request, counts, folded)
        ending = Ending(status=status, fold_error=encode_error(folded.error), output=output)
        if not await self._tools.lane.end(self._recorder.job, ending):
            raise JobLost
        _log.info("A job has ended.", job_id=self._job.id, status=status.value)


def _without_fold(request: FanOutRequest) -> FanOutRequest:
    return replace(request, fold=FoldOptions())


def _has_failed(request: FanOutRequest, counts: JobCounts) -> bool:
    done = counts.successful + counts.failed
    if not counts.successful or counts.successful / done < request.min_success:
        return True
    return request.on_error is OnError.FAIL and counts.failed > 0


def _status(request: FanOutRequest, counts: JobCounts, folded: Folded) -> JobStatus:
    if _has_failed(request, counts):
        return JobStatus.FAILED
    return JobStatus.PARTIAL if counts.failed or folded.error else JobStatus.SUCCEEDED
