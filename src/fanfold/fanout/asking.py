"""One call of a run: within the slots, the request's budget, the room for its answers and its deadline."""

import asyncio
from contextlib import ExitStack

from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.caller import CallOutcome
from fanfold.fanout.engine import Engine
from fanfold.fanout.pricing import Bill
from fanfold.fanout.purse import AnswerBytes, Purse
from fanfold.fanout.run import ended
from fanfold.fanout.slot_needs import needs, owner_limit
from fanfold.fanout.types import Call, CallResult, ErrorCode, Meter, MeterReading, Plan, Prompt, Upstream


class Asking:
    """Makes the calls of one run. `deadline` is the event loop's time at which the request ends."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        request = plan.request
        self._engine, self._request = engine, request
        self._strategy = engine.kinds.strategy(request.strategy)
        self._purse = _purse(plan)
        self.bytes = AnswerBytes(engine.max_answers_bytes)
        self.deadline = asyncio.get_running_loop().time() + request.deadline_s

    @property
    def is_over(self) -> bool:
        """Whether the request's time is up."""
        return asyncio.get_running_loop().time() >= self.deadline

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

    async def result(self, call: Call, prompt: Prompt) -> CallResult:
        """Return what becomes of a call for which `prompt` is sent. Raises nothing but cancellation."""
        if self.bytes.is_spent:
            return ended(call, ErrorCode.TOO_LARGE)
        if self._purse is None:
            return await self._asked(call, prompt)
        return await self._paid(call, prompt, self._purse)

    async def _paid(self, call: Call, prompt: Prompt, purse: Purse) -> CallResult:
        """Ask within the caller's own budget: the call's most is taken before, what it did not use comes back."""
        try:
            if not await purse.take(call.units_max, deadline=self.deadline):
                return ended(call, ErrorCode.BUDGET)
        except TimeoutError:
            return ended(call, ErrorCode.DEADLINE)
        used = 0
        try:
            result = await self._asked(call, prompt)
            used = result.units
            return result
        finally:
            purse.settle(call.units_max, used=used)

    async def _asked(self, call: Call, prompt: Prompt) -> CallResult:
        """Ask the candidates, as the strategy orders them, in turn until one answers."""
        order = self._strategy.order(call.candidates, self)
        asked: list[CallOutcome] = []
        for upstream in order:
            asked.append(await self._called(call, upstream, prompt))
            if asked[-1].error is None or self.bytes.is_spent or self.is_over:
                break
        return await self._read(call, order[len(asked) - 1], prompt, asked)

    async def _read(
        self, call: Call, upstream: Upstream, prompt: Prompt, asked: list[CallOutcome]
    ) -> CallResult:
        answer, error = asked[-1].answer, asked[-1].error
        billed: tuple[MeterReading, ...] = ()
        if answer is not None:
            try:
                billed = await self._billed(call, upstream, prompt, answer)
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
            finish_reason=answer.finish_reason if answer else None,
            status=answer.status if answer else None,
        )

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

    async def _called(self, call: Call, upstream: Upstream, prompt: Prompt) -> CallOutcome:
        """Make one call within the slots of its upstream, of the request's owner and of the process."""
        # Before it waits for a slot: those that hang may hold all of them.
        refusal = self._engine.breaker.refusal(self._request.owner, upstream)
        if refusal is not None:
            return CallOutcome(answer=None, error=refusal, attempts=0, latency_ms=0.0)
        slots, owner = self._engine.slots, self._request.owner
        with ExitStack() as held:
            for key, limit, own in needs(upstream, owner, self._engine):
                try:
                    await slots.acquire(
                        key,
                        owner=owner,
                        weight=self._request.weight,
                        limit=limit,
                        owner_limit=own,
                        deadline=self.deadline,
                    )
                except TimeoutError:
                    return _no_slot(call)
                held.callback(slots.release, key, owner=owner)
            return await self._called_within(upstream, prompt)

    async def _called_within(self, upstream: Upstream, prompt: Prompt) -> CallOutcome:
        return await self._engine.caller.call(
            upstream,
            prompt,
            adapter=self._engine.kinds.adapter(upstream.kind),
            timeout_s=self._request.timeout_s or upstream.timeout_s,
            max_attempts=self._request.max_attempts or upstream.max_attempts,
            deadline=self.deadline,
            owner=self._request.owner,
            take=self.bytes.take,
        )


def _tokens(meter: Meter, billed: tuple[MeterReading, ...], reported: int | None) -> int | None:
    return next((reading.quantity for reading in billed if reading.meter is meter), reported)


def _no_slot(call: Call) -> CallOutcome:
    """Return what a call is that waited for a slot until the deadline."""
    error = ended(call, ErrorCode.DEADLINE).error
    return CallOutcome(answer=None, error=error, attempts=0, latency_ms=0.0)


def _purse(plan: Plan) -> Purse | None:
    return Purse(plan.units_reserved) if plan.units_reserved < plan.units_max else None
