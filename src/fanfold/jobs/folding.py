"""A job's fold: over all results as they are stored, its own calls kept like any other of the job."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson

from fanfold.core.telemetry.logging import get_logger
from fanfold.fanout.errors import FoldFailed
from fanfold.fanout.folding import TOO_LARGE, UNFOLDED
from fanfold.fanout.types import CallError, CallResult, Chunk, ErrorCode, FanOutRequest
from fanfold.jobs.calls import JobCalls, Tools
from fanfold.jobs.patience import patiently
from fanfold.jobs.present import GONE, present
from fanfold.jobs.sealing import JobSealing, Sealed
from fanfold.jobs.taken import StoredResult, TakenJob

T = TypeVar("T")

# Beside its answer a result says when and where it came: what is stored of it is that much longer.
_AROUND_BYTES = 1_000
_PAGE = 200
_AT_ONCE = 50
_LONG_BYTES = 100_000

_OUTPUT_TOO_LARGE = CallError(
    code=ErrorCode.TOO_LARGE,
    status=None,
    detail="The folded output is larger than 16 MiB. The answers are in the job's results: read them one by one.",
)
_NO_UNITS = CallError(
    code=ErrorCode.BUDGET,
    status=None,
    detail="max_units does not cover the fold's calls; raise it or send less.",
)

_log = get_logger(__name__)


class Folded(NamedTuple):
    """The output as JSON, or why there is none; both are None where the fold makes none."""

    output: bytes | None
    error: CallError | None


class JobFold:
    """Folds the results of one job whose calls have all been made. It is the desk of the fold (`folds.base.Desk`)."""

    def __init__(self, tools: Tools, job: TakenJob, request: FanOutRequest, calls: JobCalls) -> None:
        self._tools, self._job, self._request, self._calls = tools, job, request, calls
        self._sealing = JobSealing(tools.key_ring, job.tenant_id, job.id)
        self._next = job.fold_first
        self._known: dict[int, CallResult] = {}
        self._bytes = 0

    async def carry_out(self) -> Folded:
        """Return the output. Raises what making calls raises; what upstreams do wrong is in the error."""
        if self._request.fold.by == "list":
            return Folded(None, None)
        try:
            results = await self._results(0, self._job.total)
            self._request = await self._asking_now()
            self._known = {one.index: one for one in await self._results(self._job.fold_first, None)}
            output = await self._tools.fan_out.fold(self._request.fold, tuple(results), self)
        except FoldFailed as failure:
            return Folded(None, failure.error)
        except (TypeError, ValueError, RecursionError) as fault:
            _log.error("The fold of a job failed.", job_id=self._job.id, error=type(fault).__name__)
            return Folded(None, UNFOLDED)
        written = await self.compute(lambda: orjson.dumps(output))
        is_small = len(written) <= self._tools.max_output_bytes
        return Folded(written, None) if is_small else Folded(None, _OUTPUT_TOO_LARGE)

    async def compute(self, function: Callable[[], T]) -> T:
        """Return `function()`, off the event loop where the answers are long."""
        return await self._tools.fan_out.compute(function, is_long=self._bytes > _LONG_BYTES)

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        """Return the answers of the fold's upstream, one for each text, in order. Raises `FoldFailed`."""
        first, self._next = self._next, self._next + len(texts)
        answers: list[Any] = []
        for place in range(0, len(texts), _AT_ONCE):
            some = texts[place : place + _AT_ONCE]
            plan = self._tools.fan_out.plan_fold_calls(
                self._request, some, first=first, place=place, total=len(texts)
            )
            missing = tuple(call for call in plan.calls if call.index not in self._known)
            made = await self._calls.make(replace(plan, calls=missing)) if missing else []
            found = self._known | {result.index: result for result in made}
            # The first of those that failed, not one that was not made because of it.
            for result in (found[call.index] for call in plan.calls if call.index in found):
                if result.error is not None:
                    raise FoldFailed(_NO_UNITS if result.error.code is ErrorCode.BUDGET else result.error)
            answers += [found[call.index].result for call in plan.calls]
        return answers

    async def _asking_now(self) -> FanOutRequest:
        """Return the request with the fold's upstream as it is now."""
        fold = self._request.fold
        if fold.upstream is None or not self._tools.fan_out.fold_asks(fold.by):
            return self._request
        now = present(fold.upstream, await patiently(partial(self._tools.upstreams.of, self._job.tenant_id)))
        if now is None:
            raise FoldFailed(GONE)
        return replace(self._request, fold=replace(fold, upstream=now))

    async def _results(self, first: int, stop: int | None) -> list[CallResult]:
        results: list[CallResult] = []
        while True:
            page = await patiently(
                partial(self._tools.repository.results, self._job.reference, first=first, limit=_PAGE)
            )
            some = [one for one in page if stop is None or one.call_index < stop]
            self._bytes += sum(max(0, len(one.body) - _AROUND_BYTES) for one in some if one.success)
            if self._bytes > self._tools.max_answers_bytes:
                raise FoldFailed(TOO_LARGE)
            size = sum(len(one.body) for one in some)
            results += await self._tools.fan_out.compute(
                partial(self._all_opened, some), is_long=size > _LONG_BYTES
            )
            if len(some) < _PAGE:
                return results
            first = some[-1].call_index + 1

    def _all_opened(self, stored: Sequence[StoredResult]) -> list[CallResult]:
        return [self._opened(one) for one in stored]

    def _opened(self, stored: StoredResult) -> CallResult:
        told = orjson.loads(self._sealing.open(Sealed.RESULT, stored.body, stored.call_index))
        error = told["error"]
        return CallResult(
            index=stored.call_index,
            chunk=Chunk(told["index"], told["start"], told["end"], ""),
            upstream=self._request.upstreams[0],
            success=stored.success,
            result=told["result"],
            error=CallError(code=ErrorCode(error["code"]), status=error["status"], detail=error["detail"])
            if error
            else None,
        )
