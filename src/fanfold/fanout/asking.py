"""One call of a run: within the slots, the request's budget, the room for its answers and its deadline."""

import asyncio
from dataclasses import replace

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.caller import CallOutcome
from fanfold.fanout.engine import Engine
from fanfold.fanout.pricing import Bill, by_call
from fanfold.fanout.purse import AnswerBytes, Purse
from fanfold.fanout.run import ended
from fanfold.fanout.slot_needs import Need, needs, owner_limit
from fanfold.fanout.slots import NoSlot
from fanfold.fanout.telling import Tell
from fanfold.fanout.types import (
    Call,
    CallError,
    CallResult,
    ErrorCode,
    Meter,
    MeterReading,
    Plan,
    Prompt,
    Upstream,
)

# Members of an enumeration cost a call each time they are named, before Python 3.12.
_INPUT, _OUTPUT = Meter.INPUT_TOKENS, Meter.OUTPUT_TOKENS


class Asking:
    """Makes the calls of one run. `deadline` is the event loop's time at which the request ends."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        request = plan.request
        self._engine, self._request = engine, request
        self._strategy = engine.kinds.strategy(request.strategy)
        self._purse = _purse(plan)
        self._needed: dict[str, list[Need]] = {}
        self.bytes = AnswerBytes(engine.max_answers_bytes)
        self._time = asyncio.get_running_loop().time
        self.deadline = self._time() + request.deadline_s

    @property
    def is_over(self) -> bool:
        """Whether the request's time is up."""
        return self._time() >= self.deadline

    def share(self, upstream: Upstream) -> float:
        """Return the calls under way to an upstream over the most at once, of all or of the owner alone."""
        slots, owner = self._engine.slots, self._request.owner
        return max(
            slots.held_of(upstream.key) / upstream.max_concurrency,
            slots.held_by(upstream.key, owner) / owner_limit(upstream, owner),
        )

    def is_open(self, upstream: Upstream) -> bool:
        """Tell whether an upstream's circuit would refuse a call."""
        return self._engine.breaker.is_open(self._request.owner, upstream)

    async def result(self, call: Call, prompt: Prompt, tell: Tell | None = None) -> CallResult:
        """Return what becomes of a call for which `prompt` is sent. Raises nothing but cancellation.

        `tell` is told the answer's text as it comes, where the upstream's kind streams it.
        """
        if self.bytes.is_spent:
            return ended(call, ErrorCode.TOO_LARGE)
        if self._purse is None:
            return await self._asked(call, prompt, tell)
        return await self._paid(call, prompt, tell, self._purse)

    async def _paid(self, call: Call, prompt: Prompt, tell: Tell | None, purse: Purse) -> CallResult:
        """Ask within the caller's own budget: the call's most is taken before, what it did not use comes back."""
        try:
            if not await purse.take(call.units_max, deadline=self.deadline):
                return ended(call, ErrorCode.BUDGET)
        except TimeoutError:
            return ended(call, ErrorCode.DEADLINE)
        used = 0
        try:
            result = await self._asked(call, prompt, tell)
            used = result.units
            return result
        finally:
            purse.settle(call.units_max, used=used)

    async def _asked(self, call: Call, prompt: Prompt, tell: Tell | None) -> CallResult:
        """Ask the candidates, as the strategy orders them, in turn until one answers or has begun to."""
        order = self._strategy.order(call.candidates, self)
        asked: list[CallOutcome] = []
        for upstream in order:
            asked.append(await self._called(call, upstream, prompt, tell))
            if asked[-1].error is None or asked[-1].has_told or self.bytes.is_spent or self.is_over:
                break
        outcome, upstream = _together(asked), order[len(asked) - 1]
        if outcome.answer is None:
            return _failed(call, upstream, outcome, outcome.error)
        try:
            price = upstream.price
            billed = (
                by_call(price)
                if price.is_by_call
                else await self._billed(call, upstream, prompt, outcome.answer)
            )
        except TimeoutError:  # what has no price yet is not accepted: neither given nor billed
            return _failed(call, upstream, outcome, ended(call, ErrorCode.DEADLINE).error)
        return _answered(call, upstream, outcome, outcome.answer, billed)

    async def _billed(
        self, call: Call, upstream: Upstream, prompt: Prompt, answer: AdapterAnswer
    ) -> tuple[MeterReading, ...]:
        """Return the answer's price; raises `TimeoutError` where its tokens cannot be counted by the deadline."""
        adapter = self._engine.kinds.adapter(upstream.kind)
        bill = Bill(upstream, call.chunk, prompt, adapter=adapter, answer=answer)
        if not bill.is_uncounted:
            return bill.readings()
        return await self._engine.counting.run(
            bill.readings,
            length=bill.uncounted_length,
            owner=self._request.owner,
            weight=self._request.weight,
            deadline=self.deadline,
        )

    async def _called(self, call: Call, upstream: Upstream, prompt: Prompt, tell: Tell | None) -> CallOutcome:
        """Make one call within the slots of its upstream, of the request's owner and of the process."""
        # Before it waits for a slot: those that hang may hold all of them.
        refusal = self._engine.breaker.refusal(self._request.owner, upstream)
        if refusal is not None:
            return CallOutcome(answer=None, error=refusal, attempts=0, latency_ms=0.0)
        slots, owner, weight = self._engine.slots, self._request.owner, self._request.weight
        held: list[str] = []
        try:
            for key, limit, own in self._needs(upstream):
                ticket = slots.take(key, owner=owner, weight=weight, limit=limit, owner_limit=own)
                if ticket is not None:
                    await slots.wait(key, ticket, deadline=self.deadline)
                held.append(key)
            return await self._engine.caller.call(
                upstream,
                prompt,
                adapter=self._engine.kinds.adapter(upstream.kind),
                timeout_s=self._request.timeout_s or upstream.timeout_s,
                max_attempts=self._request.max_attempts or upstream.max_attempts,
                deadline=self.deadline,
                owner=owner,
                take=self.bytes.take,
                tell=tell,
            )
        except NoSlot:
            return _no_slot(call)
        finally:
            for key in reversed(held):
                slots.release(key, owner=owner)

    def _needs(self, upstream: Upstream) -> list[Need]:
        """Return the slots that a call of it takes: the same for all calls of this run."""
        needed = self._needed.get(upstream.key)
        if needed is None:
            request = self._request
            needed = needs(upstream, request.owner, self._engine, is_background=request.is_background)
            self._needed[upstream.key] = needed
        return needed


def _together(asked: list[CallOutcome]) -> CallOutcome:
    """Return the last outcome, with the attempts of all."""
    if len(asked) == 1:
        return asked[0]
    attempts, latency_ms = sum(one.attempts for one in asked), sum(one.latency_ms for one in asked)
    return replace(asked[-1], attempts=attempts, latency_ms=latency_ms)


def _failed(call: Call, upstream: Upstream, outcome: CallOutcome, error: CallError | None) -> CallResult:
    return CallResult(
        index=call.index,
        chunk=call.chunk,
        upstream=upstream,
        success=False,
        error=error,
        attempts=outcome.attempts,
        latency_ms=outcome.latency_ms,
    )


def _answered(
    call: Call,
    upstream: Upstream,
    outcome: CallOutcome,
    answer: AdapterAnswer,
    billed: tuple[MeterReading, ...],
) -> CallResult:
    return CallResult(
        index=call.index,
        chunk=call.chunk,
        upstream=upstream,
        success=True,
        result=answer.result,
        attempts=outcome.attempts,
        latency_ms=outcome.latency_ms,
        readings=billed,
        input_tokens=_tokens(_INPUT, billed, answer.input_tokens),
        output_tokens=_tokens(_OUTPUT, billed, answer.output_tokens),
        finish_reason=answer.finish_reason,
        status=answer.status,
    )


def _tokens(meter: Meter, billed: tuple[MeterReading, ...], reported: int | None) -> int | None:
    for reading in billed:
        if reading.meter is meter:
            return reading.quantity
    return reported


def _no_slot(call: Call) -> CallOutcome:
    """Return what a call is that waited for a slot until the deadline."""
    error = ended(call, ErrorCode.DEADLINE).error
    return CallOutcome(answer=None, error=error, attempts=0, latency_ms=0.0)


def _purse(plan: Plan) -> Purse | None:
    return Purse(plan.units_reserved) if plan.units_reserved < plan.units_max else None
