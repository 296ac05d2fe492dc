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
_NOTHING_SENT = Phase.NOTHING_SENT
_WITH_CONTENT = frozenset(range(200, 300)) - {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT}

_log = logging.getLogger(__name__)


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _utc_now() -> datetime:
    return datetime.now(UTC)


@value
class CallOutcome:
    """What became of one call: an accepted answer or an error, never both. `latency_ms` includes the pauses.

    `has_told`: a part of the answer has gone to the run's reader.
    """

    answer: AdapterAnswer | None
    error: CallError | None
    attempts: int = 0
    latency_ms: float = 0.0
    has_told: bool = False


@value(kw_only=True)
class Terms:
    """How an upstream is called: the same for all calls of it in one run. `deadline` is loop time.

    `take` is asked once for each call, with the bytes of an answer that would be accepted; False makes it `too-large`.
    `owner` is whose circuit and retry budget of the upstream hold.
    """

    upstream: Upstream
    adapter: Adapter
    timeout_s: float
    max_attempts: int
    deadline: float
    owner: str | None = None
    take: Take | None = None


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

    async def call(self, terms: Terms, prompt: Prompt, tell: Tell | None = None) -> CallOutcome:
        """Ask for one answer until it is there, may not be asked again, or the deadline is near.

        `tell` is told the text as it comes, where the adapter streams it; from then on nothing is tried again. Raises
        nothing but cancellation.
        """
        telling = None if tell is None else Telling(tell, max_bytes=self._max_answer_bytes)
        answer: AdapterAnswer | None = None
        error: CallError | None = None
        attempts, started = 0, self._clock()
        left = terms.deadline - started
        while left > 0:
            refusal = self._breaker.refusal(terms.owner, terms.upstream)
            if refusal is not None:
                error = error or refusal
                break
            attempts += 1
            if attempts == 1:
                self._budgets.add(terms.owner, terms.upstream)
            try:
                answer, error = await self._attempt(terms, prompt, telling, left), None
                break
            except CallFailed as failure:
                error, pause = self._judged(terms, telling, failure, attempts)
            if pause is None:
                break
            await self._sleep(pause)
            left = terms.deadline - self._clock()
        else:
            error = _deadline(Phase.NOTHING_SENT).error
        latency_ms = (self._clock() - started) * 1000.0
        return CallOutcome(answer, error, attempts, latency_ms, telling is not None and telling.has_told)

    def _judged(
        self, terms: Terms, telling: Telling | None, failure: CallFailed, attempt: int
    ) -> tuple[CallError, float | None]:
        """Return a failed attempt's error, and how long to wait before the next; None: the error is the call's."""
        pause = self._pause(terms, failure, attempt)
        if pause is None:
            return failure.error, None
        if telling is not None and telling.has_told:
            kept_from = _TOLD
        elif not self._budgets.take(terms.owner, terms.upstream):
            kept_from = _NOT_AGAIN
        else:
            return failure.error, pause
        return replace(failure.error, detail=failure.error.detail + kept_from), None

    def _pause(self, terms: Terms, failure: CallFailed, attempt: int) -> float | None:
        """Return the pause after which a failed attempt would be worth another, or None."""
        if attempt >= terms.max_attempts or self._breaker.is_open(terms.owner, terms.upstream):
            return None
        pause = self._policy.pause_s(failure, attempt=attempt, idempotent=terms.upstream.idempotent)
        if pause is None or self._clock() + pause >= terms.deadline:
            return None
        return pause

    async def _attempt(
        self, terms: Terms, prompt: Prompt, telling: Telling | None, left: float
    ) -> AdapterAnswer:
        """Make one attempt within its own limit and what is `left` of the request's. Raises `CallFailed` only.

        Its circuit is told what became of it: nothing, where it was cancelled.
        """
        wire = _Wire(self._transport, self._max_answer_bytes, self._now)
        ticket = self._breaker.begin(terms.owner, terms.upstream)
        outcome = _NOTHING
        limit = within(min(terms.timeout_s, left))
        try:
            async with limit:
                if telling is not None and isinstance(terms.adapter, StreamingAdapter):
                    answer = await terms.adapter.stream(terms.upstream, prompt, wire.listen, telling)
                else:
                    answer = await terms.adapter.call(terms.upstream, prompt, wire.send)
            answer = _accepted(answer, wire, terms.take)
        except Exception as fault:  # noqa: BLE001 - the engine's edge: one chunk's fault never fails the others
            by_deadline = left <= terms.timeout_s if limit.expired() else None
            failure = _failure(fault, terms.upstream, wire.phase, by_deadline=by_deadline)
            outcome = outcome_of(failure, timeout_s=terms.timeout_s, own_timeout_s=terms.upstream.timeout_s)
            try:
                raise failure from None
            finally:
                del failure  # its traceback holds this frame: a cycle around the whole answer
        else:
            outcome = _ANSWERED
            return answer
        finally:
            self._breaker.end(ticket, outcome)


class _Wire(Progress):
    """What an adapter sends and hears in one attempt: the transport, and the check of each status. Sizes in bytes."""

    __slots__ = ("_max_bytes", "_now", "_transport", "received", "status")

    def __init__(self, transport: Transport, max_bytes: int, now: Callable[[], datetime]) -> None:
        self.phase = _NOTHING_SENT  # the base's own step would be a call
        self._transport, self._max_bytes, self._now = transport, max_bytes, now
        self.received = 0
        self.status: int | None = None

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Exchange one request for one answer of 2xx. Raises `CallFailed`."""
        response = await self._transport.send(request, max_bytes=self._max_bytes, progress=self)
        if response.status not in _WITH_CONTENT:
            raise _no_answer(response, self._now)
        self.received += len(response.body)
        self.status = response.status
        return response

    @asynccontextmanager
    async def listen(self, request: UpstreamRequest) -> AsyncIterator[UpstreamStream]:
        """Send one request, and give its answer of 2xx once the head is there. Raises `CallFailed`."""
        async with self._transport.stream(request, max_bytes=self._max_bytes, progress=self) as stream:
            if stream.status not in _WITH_CONTENT:
                raise _no_answer(stream, self._now)
            self.status = stream.status
            yield stream


def _accepted(answer: AdapterAnswer, wire: _Wire, take: Take | None) -> AdapterAnswer:
    """Return an answer with its status, once there is room for it. Raises `CallFailed`."""
    if take is not None and not take(max(wire.received, answer.size)):
        raise CallFailed(
            ErrorCode.TOO_LARGE,
            "The answers of this request are together larger than allowed; send fewer or smaller chunks.",
            phase=Phase.ANSWERED,
        )
    return answer if answer.status == wire.status else answer.of_status(wire.status)


def _no_answer(response: UpstreamResponse | UpstreamStream, now: Callable[[], datetime]) -> CallFailed:
    """Return the failure of a status that is not 2xx with content."""
    status = response.status
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        return CallFailed(
            ErrorCode.STATUS,
            f"The upstream answered {status}{status_hint(status)}.",
            phase=Phase.ANSWERED,
            status=status,
            retry_after_s=retry_after_s(response.headers.get("retry-after"), now=now()),
        )
    return CallFailed(
        ErrorCode.INVALID_ANSWER,
        f"The upstream answered {status}, which has no content.",
        phase=Phase.ANSWERED,
        status=status,
    )


def _failure(fault: Exception, upstream: Upstream, phase: Phase, *, by_deadline: bool | None) -> CallFailed:
    """Return what an attempt's exception means: one chunk's fault never fails the others.

    `by_deadline`: whether it was the request's time that is up, or the attempt's own; None where neither is.
    """
    if isinstance(fault, CallFailed):
        return fault
    if isinstance(fault, TimeoutError) and by_deadline is not None:
        return _expired(phase, by_deadline=by_deadline)
    # The type alone: its text may hold the chunk or the credential.
    _log.error("Adapter %s raised %s.", upstream.kind, type(fault).__name__)
    return _unreadable(phase)


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
