"""One call of a run: within the slots, the request's budget, the room for its answers and its deadline."""

import asyncio
from collections.abc import Awaitable

from fanfold.core.values import value
from fanfold.fanout.adapters.base import AdapterAnswer
from fanfold.fanout.caller import CallOutcome, Terms
from fanfold.fanout.engine import Engine
from fanfold.fanout.pricing import Bill, by_call
from fanfold.fanout.purse import AnswerBytes, Purse
from fanfold.fanout.run import ended
from fanfold.fanout.slot_needs import needs, owner_limit
from fanfold.fanout.slots import Need, NoSlot
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


@value
class _Route:
    """What all calls of one upstream have in common: how it is called, which slots that takes, what it costs.

    `billed` is None where the price hangs on what was asked and answered.
    """

    terms: Terms
    needs: tuple[Need, ...]
    billed: tuple[MeterReading, ...] | None


class Asking:
    """Makes the calls of one run. `deadline` is the event loop's time at which the request ends."""

    def __init__(self, plan: Plan, engine: Engine) -> None:
        request = plan.request
        self._engine, self._request = engine, request
        self.strategy = engine.kinds.strategy(request.strategy)
        self._purse = _purse(plan)
        # By identity: two of one key may differ in all that is sent. Their slots are the key's: the first limit holds.
        self._routes: dict[int, _Route] = {}
        self._needs: dict[str, tuple[Need, ...]] = {}
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

    def most(self, upstream: Upstream) -> int:
        """Return the most calls of the owner that may be under way to an upstream: more would wait for each other."""
        return min([own for _, _, own in self._needed(upstream)])

    def result(self, call: Call, prompt: Prompt, tell: Tell | None = None) -> Awaitable[CallResult]:
        """Return what becomes of a call for which `prompt` is sent. Raises nothing but cancellation.

        `tell` is told the answer's text as it comes, where the upstream's kind streams it.
        """
        if self._purse is None or self.bytes.is_spent:
            return self._asked(call, prompt, tell)
        return self._paid(call, prompt, tell, self._purse)

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
        if self.bytes.is_spent:
            return ended(call, ErrorCode.TOO_LARGE)
        order = self.strategy.order(call.candidates, self)
        place, attempts, latency_ms = 0, 0, 0.0
        while True:
            upstream = order[place]
            identity = id(upstream)
            route = self._routes[identity] if identity in self._routes else self._new_route(upstream)
            outcome = await self._called(call, route, prompt, tell)
            place += 1
            attempts += outcome.attempts
            latency_ms += outcome.latency_ms
            if outcome.error is None or place == len(order):
                break
            if outcome.has_told or self.bytes.is_spent or self.is_over:
                break
        answer, error, billed = outcome.answer, outcome.error, route.billed
        if answer is not None and billed is None:
            try:
                billed = await self._billed(call, upstream, prompt, answer)
            except TimeoutError:  # what has no price yet is not accepted: neither given nor billed
                answer, error = None, ended(call, ErrorCode.DEADLINE).error
        if answer is None or billed is None:
            return _failed(call, upstream, error, attempts, latency_ms)
        return _answered(call, upstream, answer, billed, attempts, latency_ms)

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

    async def _called(self, call: Call, route: _Route, prompt: Prompt, tell: Tell | None) -> CallOutcome:
        """Make one call within the slots of its upstream, of the request's owner and of the process."""
        owner, slots, needed = self._request.owner, self._engine.slots, route.needs
        held = slots.take_free(needed, owner)
        try:
            while held < len(needed):
                # Before it waits: those that hang may hold all slots. The caller asks again, before it calls.
                refusal = self._engine.breaker.refusal(owner, route.terms.upstream)
                if refusal is not None:
                    return CallOutcome(None, refusal)
                key, limit, own = needed[held]
                await slots.acquire(
                    key,
                    owner=owner,
                    weight=self._request.weight,
                    limit=limit,
                    owner_limit=own,
                    deadline=self.deadline,
                )
                held += 1
            return await self._engine.caller.call(route.terms, prompt, tell)
        except NoSlot:
            return CallOutcome(None, ended(call, ErrorCode.DEADLINE).error)
        finally:
            slots.give_back(needed, held, owner)

    def _new_route(self, upstream: Upstream) -> _Route:
        request, engine, price = self._request, self._engine, upstream.price
        terms = Terms(
            upstream=upstream,
            adapter=engine.kinds.adapter(upstream.kind),
            timeout_s=request.timeout_s or upstream.timeout_s,
            max_attempts=request.max_attempts or upstream.max_attempts,
            deadline=self.deadline,
            owner=request.owner,
            take=self.bytes.take,
        )
        route = _Route(terms, self._needed(upstream), by_call(price) if price.is_by_call else None)
        self._routes[id(upstream)] = route
        return route

    def _needed(self, upstream: Upstream) -> tuple[Need, ...]:
        known = self._needs.get(upstream.key)
        if known is None:
            request = self._request
            known = needs(upstream, request.owner, self._engine, is_background=request.is_background)
            self._needs[upstream.key] = known
        return known


def _failed(
    call: Call, upstream: Upstream, error: CallError | None, attempts: int, latency_ms: float
) -> CallResult:
    return CallResult(
        index=call.index,
        chunk=call.chunk,
        upstream=upstream,
        success=False,
        error=error,
        attempts=attempts,
        latency_ms=latency_ms,
    )


def _answered(
    call: Call,
    upstream: Upstream,
    answer: AdapterAnswer,
    billed: tuple[MeterReading, ...],
    attempts: int,
    latency_ms: float,
) -> CallResult:
    input_tokens, output_tokens = answer.input_tokens, answer.output_tokens
    for reading in billed[1:]:  # the first one is the call's
        if reading.meter is _INPUT:
            input_tokens = reading.quantity
        elif reading.meter is _OUTPUT:
            output_tokens = reading.quantity
    return CallResult(
        index=call.index,
        chunk=call.chunk,
        upstream=upstream,
        success=True,
        result=answer.result,
        attempts=attempts,
        latency_ms=latency_ms,
        readings=billed,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        finish_reason=answer.finish_reason,
        status=answer.status,
    )


def _purse(plan: Plan) -> Purse | None:
    return Purse(plan.units_reserved) if plan.units_reserved < plan.units_max else None
