"""One prompt for one upstream: attempts inside one deadline, and no exception for anything an upstream does."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus

from fanfold.core.time_limits import within
from fanfold.core.values import value
from fanfold.fanout.adapters.base import Adapter, AdapterAnswer, StreamingAdapter
from fanfold.fanout.circuit import Outcome, outcome_of
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.retry import RetryPolicy, retry_after_s
from fanfold.fanout.status_hints import status_hint
from fanfold.fanout.telling import Tell, Telling
from fanfold.fanout.transports.base import (
    Progress,
    Transport,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamStream,
)
from fanfold.fanout.types import CallError, ErrorCode, Prompt, Upstream

Take = Callable[[int], bool]

_TOLD = " It was not tried again: a part of its answer was told already."
_NOT_AGAIN = " It was not tried again: too many calls to this upstream have failed of late."

# Members of an enumeration cost a call each time they are named, before Python 3.12.
_NOTHING, _ANSWERED = Outcome.NOTHING, Outcome.ANSWERED
_WITH_CONTENT = frozenset(range(200, 300)) - {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT}

_log = logging.getLogger(__name__)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@value(kw_only=True)
class CallOutcome:
    """What became of one call: an accepted answer or an error, never both. `latency_ms` includes the pauses.

    `has_told`: a part of the answer has gone to the run's reader.
    """

    answer: AdapterAnswer | None
    error: CallError | None
    attempts: int
    latency_ms: float
    has_told: bool = False


@value(kw_only=True)
class _Call:
    """What stays the same over the attempts of one call."""

    upstream: Upstream
    prompt: Prompt
    adapter: Adapter
    timeout_s: float
    max_attempts: int
    deadline: float
    owner: str | None
    take: Take | None
    telling: Telling | None

    @property
    def has_told(self) -> bool:
        """Whether a part of the answer was told."""
        return self.telling is not None and self.telling.has_told


class UpstreamCaller:
    """Calls upstreams through a transport. Random, loop clock, wall clock and sleep can be injected."""

    def __init__(  # noqa: PLR0913 (keywords: what it works with)
        self,
        transport: Transport,
        *,
        max_answer_bytes: int,
        resilience: Resilience | None = None,
        random: Callable[[], float] = random.random,
        clock: Callable[[], float] = _loop_time,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._max_answer_bytes = max_answer_bytes
        resilience = resilience or Resilience()
        self._breaker, self._budgets = resilience.breaker, resilience.retry_budgets
        self._policy = RetryPolicy(random=random)
        self._clock = clock
        self._now = now
        self._sleep = sleep

    async def call(  # noqa: PLR0913 - the call is these values; a class for them would be made for one caller
        self,
        upstream: Upstream,
        prompt: Prompt,
        *,
        adapter: Adapter,
        timeout_s: float,
        max_attempts: int,
        deadline: float,
        owner: str | None = None,
        take: Take | None = None,
        tell: Tell | None = None,
    ) -> CallOutcome:
        """Ask for one answer until it is there, may not be asked again, or `deadline` (loop time) is near.

        `take` is asked once, with the bytes of an answer that would be accepted; False makes it `too-large`.
        `owner` is whose circuit and retry budget of the upstream hold. `tell` is told the text as it comes, where the
        adapter streams it; from then on nothing is tried again. Raises nothing but cancellation.
        """
        call = _Call(
            upstream=upstream,
            prompt=prompt,
            adapter=adapter,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            deadline=deadline,
            owner=owner,
            take=take,
            telling=None if tell is None else Telling(tell, max_bytes=self._max_answer_bytes),
        )
        started = self._clock()
        answer, error, attempts = await self._attempts(call)
        latency_ms = (self._clock() - started) * 1000.0
        return CallOutcome(
            answer=answer, error=error, attempts=attempts, latency_ms=latency_ms, has_told=call.has_told
        )

    async def _attempts(self, call: _Call) -> tuple[AdapterAnswer | None, CallError | None, int]:
        attempt = 0
        error: CallError | None = None
        while True:
            left = call.deadline - self._clock()
            if left <= 0:
                return None, _deadline(Phase.NOTHING_SENT).error, attempt
            refusal = self._breaker.refusal(call.owner, call.upstream)
            if refusal is not None:
                return None, error or refusal, attempt
            attempt += 1
            if attempt == 1:
                self._budgets.add(call.owner, call.upstream)
            try:
                return await self._watched(call, left), None, attempt
            except CallFailed as failure:
                error = failure.error
                pause = self._pause(call, failure, attempt)
            if pause is None:
                return None, error, attempt
            if kept_from := self._kept_from(call):
                return None, replace(error, detail=error.detail + kept_from), attempt
            await self._sleep(pause)

    def _kept_from(self, call: _Call) -> str:
        """Return why a failure that is worth another attempt has none, or nothing; else take it off the budget."""
        if call.has_told:
            return _TOLD
        return "" if self._budgets.take(call.owner, call.upstream) else _NOT_AGAIN

    def _pause(self, call: _Call, failure: CallFailed, attempt: int) -> float | None:
        """Return how long to wait before the next attempt, or None: the failure in hand is the call's error."""
        if attempt >= call.max_attempts or self._breaker.is_open(call.owner, call.upstream):
            return None
        pause = self._policy.pause_s(failure, attempt=attempt, idempotent=call.upstream.idempotent)
        if pause is None or self._clock() + pause >= call.deadline:
            return None
        return pause

    async def _watched(self, call: _Call, left: float) -> AdapterAnswer:
        """Make one attempt, and tell its circuit what became of it: nothing, where it was cancelled."""
        ticket = self._breaker.begin(call.owner, call.upstream)
        outcome = _NOTHING
        try:
            answer = await self._attempt(call, left)
        except CallFailed as failure:
            limit_s = call.timeout_s
            outcome = outcome_of(failure, timeout_s=limit_s, own_timeout_s=call.upstream.timeout_s)
            raise
        else:
            outcome = _ANSWERED
            return answer
        finally:
            self._breaker.end(ticket, outcome)

    async def _attempt(self, call: _Call, left: float) -> AdapterAnswer:
        """Make one attempt within its own limit and what is `left` of the request's. Raises `CallFailed` only."""
        progress = Progress()
        limit = within(min(call.timeout_s, left))
        try:
            async with limit:
                return await self._ask(call, progress)
        except CallFailed:
            raise
        except Exception as fault:  # noqa: BLE001 - the engine's edge: one chunk's fault never fails the others
            if limit.expired() and isinstance(fault, TimeoutError):
                raise _expired(progress.phase, by_deadline=left <= call.timeout_s) from None
            # The type alone: its text may hold the chunk or the credential.
            _log.error("Adapter %s raised %s.", call.upstream.kind, type(fault).__name__)
            raise _unreadable(progress.phase) from None

    async def _ask(self, call: _Call, progress: Progress) -> AdapterAnswer:
        wire = _Wire(self._transport, self._max_answer_bytes, progress, self._now)
        if call.telling is not None and isinstance(call.adapter, StreamingAdapter):
            answer = await call.adapter.stream(call.upstream, call.prompt, wire.listen, call.telling)
        else:
            answer = await call.adapter.call(call.upstream, call.prompt, wire.send)
        if call.take is not None and not call.take(max(wire.received, answer.size)):
            raise CallFailed(
                ErrorCode.TOO_LARGE,
                "The answers of this request are together larger than allowed; send fewer or smaller chunks.",
                phase=Phase.ANSWERED,
            )
        return answer.of_status(wire.status)


class _Wire:
    """What an adapter sends and hears in one attempt: the transport, and the check of each status. Sizes in bytes."""

    __slots__ = ("_max_bytes", "_now", "_progress", "_transport", "received", "status")

    def __init__(
        self, transport: Transport, max_bytes: int, progress: Progress, now: Callable[[], datetime]
    ) -> None:
        self._transport, self._max_bytes, self._progress, self._now = transport, max_bytes, progress, now
        self.received = 0
        self.status: int | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Exchange one request for one answer of 2xx. Raises `CallFailed`."""
        response = await self._transport.send(request, max_bytes=self._max_bytes, progress=self._progress)
        _check_status(response, self._now)
        self.received += len(response.body)
        self.status = response.status
        return response

    @asynccontextmanager
    async def listen(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """Send one request, and give its answer of 2xx once the head is there. Raises `CallFailed`."""
        async with self._transport.stream(
            request, max_bytes=self._max_bytes, progress=self._progress
        ) as stream:
            _check_status(stream, self._now)
            self.status = stream.status
            yield stream


def _check_status(response: UpstreamResponse | UpstreamStream, now: Callable[[], datetime]) -> None:
    """Raise `CallFailed` unless the upstream answered 2xx with content."""
    status = response.status
    if status in _WITH_CONTENT:
        return
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise CallFailed(
            ErrorCode.STATUS,
            f"The upstream answered {status}{status_hint(status)}.",
            phase=Phase.ANSWERED,
            status=status,
            retry_after_s=retry_after_s(response.headers.get("retry-after"), now=now()),
        )
    raise CallFailed(
        ErrorCode.INVALID_ANSWER,
        f"The upstream answered {status}, which has no content.",
        phase=Phase.ANSWERED,
        status=status,
    )


def _expired(phase: Phase, *, by_deadline: bool) -> CallFailed:
    if by_deadline:
        return _deadline(phase)
    return CallFailed(
        ErrorCode.TIMEOUT, "The upstream did not answer in time; raise timeout_s or send less.", phase=phase
    )


def _deadline(phase: Phase) -> CallFailed:
    return CallFailed(
        ErrorCode.DEADLINE, "The request's deadline came first; raise deadline_s or send less.", phase=phase
    )


def _unreadable(phase: Phase) -> CallFailed:
    return CallFailed(
        ErrorCode.INVALID_ANSWER, "The upstream's answer could not be read as its kind promises.", phase=phase
    )
