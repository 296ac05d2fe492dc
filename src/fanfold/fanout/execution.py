"""The work of one run: a few workers for each upstream, every one pulling the next call of its group."""

import asyncio
import logging
from collections import defaultdict, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.caller import CallOutcome, UpstreamCaller
from fanfold.fanout.counting import Counting
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.pricing import Bill
from fanfold.fanout.purse import AnswerBytes, Purse
from fanfold.fanout.run import Run, ended
from fanfold.fanout.slots import ALL, Slots
from fanfold.fanout.turns import Turns
from fanfold.fanout.types import (
    Call,
    CallError,
    CallResult,
    ErrorCode,
    Meter,
    MeterReading,
    OnError,
    Plan,
    Upstream,
)
from fanfold.fanout.work import Work

_log = logging.getLogger(__name__)

_UNFOLDED = CallError(
    code=ErrorCode.INVALID_ANSWER, status=None, detail="The answers could not be folded so."
)

_TOO_LARGE = CallError(
    code=ErrorCode.TOO_LARGE, status=None, detail="The folded answer would be larger than allowed."
)

# Folding answers of more bytes than these together takes some 10 ms.
_LONG_FOLD = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What all runs of one process share."""

    caller: UpstreamCaller
    work: Work
    kinds: Kinds
    slots: Slots
    turns: Turns
    counting: Counting
    max_in_flight: int
    max_workers: int
    max_answers_bytes: int


class Execution:
    """Carries out one run until every call has a result, within the request's deadline."""

    def __init__(self, run: Run, engine: Engine) -> None:
        request = run.plan.request
        self._run = run
        self._engine = engine
        self._request = request
        self._deadline = asyncio.get_running_loop().time() + request.deadline_s
        self._purse = _purse(run.plan)
        self._bytes = AnswerBytes(engine.max_answers_bytes)
        self._workers: list[asyncio.Task[None]] = []

    async def carry_out(self) -> None:
        """Make the calls; those that never ran get `deadline` or `cancelled`."""
        groups = _groups(self._run.plan)
        fair = max(1, self._engine.max_workers // len(groups)) if groups else 0
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                width = min(group[0].candidates[0].max_concurrency, fair, len(group))
                self._workers += [tasks.create_task(self._work(group)) for _ in range(width)]
        code = ErrorCode.DEADLINE if self._is_over() else ErrorCode.CANCELLED
        for call in self._run.missing():
            self._run.record(ended(call, code))
        await self._fold()

    async def _work(self, calls: deque[Call]) -> None:
        while await self._goes_on() and calls:
            result = await self._result(calls.popleft())
            self._run.record(result)
            if not result.success and self._request.on_error is OnError.FAIL:
                self._cancel_others()
                return

    async def _goes_on(self) -> bool:
        """Wait for a turn, and for a reader that is behind; tell whether there is time for another call."""
        await self._engine.turns.take()
        if self._run.is_ahead:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._deadline):
                    await self._run.room()
        return not self._is_over()

    def _is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._deadline

    def _cancel_others(self) -> None:
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()

    async def _result(self, call: Call) -> CallResult:
        if self._bytes.is_spent:
            return ended(call, ErrorCode.TOO_LARGE)
        return await (self._asked(call) if self._purse is None else self._paid(call, self._purse))

    async def _paid(self, call: Call, purse: Purse) -> CallResult:
        """Ask within the caller's own budget: the call's most is taken before, what it did not use comes back."""
        try:
            if not await purse.take(call.units_max, deadline=self._deadline):
                return ended(call, ErrorCode.BUDGET)
        except TimeoutError:
            return ended(call, ErrorCode.DEADLINE)
        used = 0
        try:
            result = await self._asked(call)
            used = result.units
            return result
        finally:
            purse.settle(call.units_max, used=used)

    async def _asked(self, call: Call) -> CallResult:
        """Ask the candidates in turn until one answers."""
        asked: list[CallOutcome] = []
        for upstream in call.candidates:
            asked.append(await self._called(call, upstream))
            if asked[-1].error is None or self._bytes.is_spent or self._is_over():
                break
        return await self._read(call, call.candidates[len(asked) - 1], asked)

    async def _read(self, call: Call, upstream: Upstream, asked: list[CallOutcome]) -> CallResult:
        answer, error = asked[-1].answer, asked[-1].error
        billed: tuple[MeterReading, ...] = ()
        if answer is not None:
            try:
                billed = await self._billed(call, upstream, answer)
            except TimeoutError:  # what has no price yet is not accepted: neither given nor billed
                answer, error = None, ended(call, ErrorCode.DEADLINE).error
        return CallResult(
            index=call.index,
            chunk=call.chunk,
            upstream=upstream,
            success=answer is not None,
            result=answer.result if answer else None,
            error=error,
            attempts=sum(outcome.attempts for outcome in asked),
            latency_ms=sum(outcome.latency_ms for outcome in asked),
            readings=billed,
            input_tokens=_tokens(Meter.INPUT_TOKENS, billed, answer.input_tokens if answer else None),
            output_tokens=_tokens(Meter.OUTPUT_TOKENS, billed, answer.output_tokens if answer else None),
        )

    async def _billed(
        self, call: Call, upstream: Upstream, answer: AdapterAnswer
    ) -> tuple[MeterReading, ...]:
        """Return the answer's price; raises `TimeoutError` where its tokens cannot be counted by the deadline."""
        adapter = self._engine.kinds.adapter(upstream.kind)
        bill = Bill(upstream, call.chunk, len(self._run.plan.chunks), adapter=adapter, answer=answer)
        if not bill.is_uncounted:
            return bill.readings()
        return await self._engine.counting.run(
            bill.readings,
            length=bill.uncounted_length,
            owner=self._request.owner,
            deadline=self._deadline,
        )

    async def _called(self, call: Call, upstream: Upstream) -> CallOutcome:
        """Make one call within the slots of its upstream, of the request's owner and of the process."""
        limits = {upstream.key: upstream.max_concurrency}
        if self._request.owner:
            # Whatever one owner's calls wait for, and however many runs they are in: the others find slots.
            limits[f"owner {self._request.owner}"] = self._engine.max_workers
        limits[ALL] = self._engine.max_in_flight
        with ExitStack() as held:
            for key, limit in limits.items():
                try:
                    await self._engine.slots.acquire(key, limit=limit, deadline=self._deadline)
                except TimeoutError:
                    return _no_slot(call)
                held.callback(self._engine.slots.release, key)
            return await self._called_within(call, upstream)

    async def _called_within(self, call: Call, upstream: Upstream) -> CallOutcome:
        return await self._engine.caller.call(
            upstream,
            call.chunk,
            total=len(self._run.plan.chunks),
            adapter=self._engine.kinds.adapter(upstream.kind),
            timeout_s=self._request.timeout_s or upstream.timeout_s,
            max_attempts=self._request.max_attempts or upstream.max_attempts,
            deadline=self._deadline,
            take=self._bytes.take,
        )

    async def _fold(self) -> None:
        options = self._request.fold
        separators = len(options.separator.encode()) * len(self._run.results)
        if not self._bytes.take(separators):
            self._run.finish(None, _TOO_LARGE)
            return
        results = tuple(sorted(self._run.results, key=lambda result: result.index))
        fold = partial(self._engine.kinds.fold(options.by), results, options)
        try:
            self._run.finish(
                await self._engine.work.run_anyway(fold, is_long=self._bytes.taken > _LONG_FOLD), None
            )
        except Exception as fault:  # noqa: BLE001 - a fold of any kind must not lose the answers, which are billed
            _log.error("Fold %s raised %s.", options.by, type(fault).__name__)
            self._run.finish(None, _UNFOLDED)


def _groups(plan: Plan) -> list[deque[Call]]:
    """Return the calls by the upstream they ask first, each group in order of index."""
    groups: defaultdict[str, deque[Call]] = defaultdict(deque)
    for call in plan.calls:
        groups[call.candidates[0].key].append(call)
    return list(groups.values())


def _tokens(meter: Meter, billed: tuple[MeterReading, ...], reported: int | None) -> int | None:
    return next((reading.quantity for reading in billed if reading.meter is meter), reported)


def _no_slot(call: Call) -> CallOutcome:
    """Return what a call is that waited for a slot until the deadline."""
    error = ended(call, ErrorCode.DEADLINE).error
    return CallOutcome(answer=None, error=error, attempts=0, latency_ms=0.0)


def _purse(plan: Plan) -> Purse | None:
    return Purse(plan.units_reserved) if plan.units_reserved < plan.units_max else None
