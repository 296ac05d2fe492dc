"""Calls of a job: announced before they are made, recorded as they answer."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import orjson

from fanfold.core.crypto import KeyRing
from fanfold.core.errors import NotReady
from fanfold.core.values import value
from fanfold.fanout.run import Run
from fanfold.fanout.service import FanOut
from fanfold.fanout.types import CallResult, ErrorCode, OnError, Plan
from fanfold.jobs.beats import Beats
from fanfold.jobs.lane import JobLane
from fanfold.jobs.patience import patiently
from fanfold.jobs.present import with_present
from fanfold.jobs.recording import Recorder
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.taken import Claiming, TakenJob
from fanfold.jobs.turn_repository import TurnRepository
from fanfold.jobs.types import RecordedCall
from fanfold.processing.billing import usage_events
from fanfold.processing.encoding import encode_result
from fanfold.upstreams.directory import UpstreamDirectory

MiB = 1024 * 1024
NO_IDS: Mapping[int, str] = {}


@value(kw_only=True)
class Tools:
    """What a worker works with; `count_calls` is told how many calls ended how.

    So many bytes of answers are folded together at most, into an output of so many.
    """

    repository: TurnRepository
    lane: JobLane
    fan_out: FanOut
    upstreams: UpstreamDirectory
    key_ring: KeyRing
    claiming: Claiming
    count_calls: Callable[[str, int], None]
    max_answers_bytes: int = 64 * MiB
    max_output_bytes: int = 16 * MiB


class _KeptRun(Run):
    """A run whose reader is the recorder: each result is kept in the step in which it comes."""

    def __init__(self, plan: Plan, keep: Callable[[CallResult], None], recorder: Recorder) -> None:
        super().__init__(plan, told=False)
        self._keep, self._recorder = keep, recorder

    def record(self, result: CallResult) -> None:
        super().record(result)
        if result.success or not _was_not_made(result):
            self._keep(result)

    @property
    def is_ahead(self) -> bool:
        return self._recorder.is_full

    async def room(self) -> None:
        await self._recorder.room()


class JobCalls:
    """Makes the calls of one taken job. `units_left` of what is held bounds what the next ones may cost."""

    def __init__(
        self, tools: Tools, job: TakenJob, recorder: Recorder, beats: Beats, *, by_address: bool
    ) -> None:
        self.units_left = 0
        self._tools, self._recorder, self._beats = tools, recorder, beats
        self._tenant_id = job.tenant_id
        self._sealing = JobSealing(tools.key_ring, job.tenant_id, job.id)
        self._by_address = by_address

    async def make(self, plan: Plan, *, custom_ids: Mapping[int, str] = NO_IDS) -> list[CallResult]:
        """Make the plan's calls and return their results, which are on their way to the job's rows.

        There is none of a call that was not made because another one had failed (`on_error` fail). Raises `JobLost`,
        `JobCancelled`, NotReady.
        """
        plan, refused = with_present(
            plan, await patiently(partial(self._tools.upstreams.of, self._tenant_id))
        )
        most = {call.index: call.units_max for call in plan.calls}
        units = sum(most.values())
        await self._announce(len(most) + len(refused), units)
        ended: Counter[str] = Counter()
        keep = partial(self._keep, most=most, custom_ids=custom_ids, ended=ended)
        # Counted one by one only where not all of them are held.
        bound = None if units <= self.units_left else max(0, self.units_left)
        bounded = replace(plan, request=replace(plan.request, max_units=bound))
        run = _KeptRun(bounded, keep, self._recorder)
        try:
            for result in refused:
                await self._recorder.room()
                keep(result)
            if refused and plan.request.on_error is OnError.FAIL:
                return refused
            await self._tools.fan_out.carry_out(run)
        finally:
            for code, many in ended.items():
                self._tools.count_calls(code, many)
        made = [result for result in run.results if result.success or not _was_not_made(result)]
        return [*refused, *made]

    async def _announce(self, calls: int, units: int) -> None:
        """Say what is about to be made, while what was made before may still be on its way into the rows."""
        try:
            await self._beats.announce(calls, units)
        except NotReady:
            await self._recorder.drained()
            await patiently(partial(self._beats.announce, calls, units, anew=True))

    def _keep(
        self,
        result: CallResult,
        *,
        most: Mapping[int, int],
        custom_ids: Mapping[int, str],
        ended: Counter[str],
    ) -> None:
        ended[result.error.code if result.error else "ok"] += 1
        self.units_left -= result.units
        body = encode_result(result, with_url=self._by_address)
        if (custom_id := custom_ids.get(result.index)) is not None:
            body = b'%b,"custom_id":%b}' % (body[:-1], orjson.dumps(custom_id))
        sealed = self._sealing.seal(Sealed.RESULT, body, result.index)
        units_max = most.get(result.index, 0)  # what was refused costs nothing
        events = usage_events(result)
        self._recorder.add(RecordedCall(result.index, result.success, sealed, units_max, events))


def _was_not_made(result: CallResult) -> bool:
    return result.error is not None and result.error.code is ErrorCode.CANCELLED
