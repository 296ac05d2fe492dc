"""The caller: attempts inside one deadline. The transport is scripted, clock and sleep are the test's."""

import asyncio
import gc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from fanfold.fanout.adapters.base import AdapterAnswer, Defaults
from fanfold.fanout.adapters.http_json import HttpJson
from fanfold.fanout.caller import Terms, UpstreamCaller
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamResponse
from fanfold.fanout.types import ErrorCode, Prompt, Upstream

UPSTREAM = Upstream(kind="plain", url="https://api.example.test/")
OK = UpstreamResponse(200, {}, b"fine")


def status(code: int, **headers: str) -> UpstreamResponse:
    return UpstreamResponse(code, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def lost(phase: Phase) -> CallFailed:
    return CallFailed(ErrorCode.CONNECT, "lost", phase=phase)


class Script:
    """A transport that plays one step after another: an answer, an error, or a wait for ever in a phase."""

    def __init__(self, *steps: UpstreamResponse | Exception | Phase) -> None:
        self._steps = list(steps)
        self.sent = 0

    async def send(self, request, *, max_bytes, progress):
        assert (request.url, max_bytes) == (UPSTREAM.url, 1000)
        self.sent += 1
        step = self._steps.pop(0)
        if isinstance(step, Phase):
            progress.phase = step
            await asyncio.Event().wait()
        if isinstance(step, Exception):
            raise step
        progress.phase = Phase.ANSWERED
        return step

    async def aclose(self) -> None:
        self._steps.clear()


class PlainAdapter:
    """Answers the body as text."""

    is_ai = False
    defaults = Defaults()

    def __init__(self, fault: BaseException | None = None) -> None:
        self._fault = fault

    async def call(self, upstream, prompt, send):
        assert prompt.index < prompt.total
        response = await send(UpstreamRequest("POST", upstream.url, {}, prompt.text.encode()))
        if self._fault:
            raise self._fault
        return AdapterAnswer(response.body.decode())

    def check(self, upstream):
        assert upstream.url

    def texts(self, upstream, prompt):
        return [upstream.url, prompt.text, str(prompt.total)]

    def output_tokens_bound(self, upstream):
        return upstream.max_attempts


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ask(time):
    """Calls once; deadline is seconds from now."""

    async def asked(
        transport, *, adapter=None, deadline=60.0, upstream=UPSTREAM, timeout_s=5.0, max_attempts=3, take=None
    ):
        caller = UpstreamCaller(
            transport,
            max_answer_bytes=1000,
            random=lambda: 1.0,
            clock=lambda: time.now,
            now=lambda: datetime(2026, 11, 22, tzinfo=UTC),
            sleep=time.sleep,
        )
        async with asyncio.timeout(10):
            terms = Terms(
                upstream=upstream,
                adapter=adapter or PlainAdapter(),
                timeout_s=timeout_s,
                max_attempts=max_attempts,
                deadline=time.now + deadline,
                take=take,
            )
            return await caller.call(terms, Prompt("你好", 0, 1))

    return asked


class TestAnswers:
    async def test_an_answer_is_handed_over_with_its_attempts_and_time(self, ask):
        outcome = await ask(Script(status(503), OK))
        assert outcome.answer == AdapterAnswer("fine")
        assert (outcome.error, outcome.attempts, outcome.latency_ms) == (None, 2, 250.0)

    @pytest.mark.parametrize("code", [200, 201, 202, 206, 299])
    async def test_any_status_of_2xx_with_content_is_an_answer(self, ask, code):
        assert (await ask(Script(UpstreamResponse(code, {}, b"x")))).error is None

    @pytest.mark.parametrize("code", [101, 204, 205])
    async def test_a_status_without_content_is_no_answer(self, ask, code):
        outcome = await ask(Script(status(code)))
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.INVALID_ANSWER, code)

    @pytest.mark.parametrize("code", [300, 301, 304, 307, 400, 401, 403, 404, 422, 501, 505, 599])
    async def test_other_statuses_fail_at_once(self, ask, code):
        transport = Script(status(code, location="https://elsewhere.test/"))
        outcome = await ask(transport)
        assert (outcome.error.code, outcome.error.status) == (ErrorCode.STATUS, code)
        assert (outcome.attempts, transport.sent) == (1, 1)

    async def test_bytes_of_an_accepted_answer_are_taken_once(self, ask):
        taken: list[int] = []

        def take(size: int) -> bool:
            taken.append(size)
            return True

        await ask(Script(status(500), OK), take=take)
        assert taken == [4]

    async def test_an_answer_beyond_what_the_request_may_hold_is_too_large(self, ask):
        outcome = await ask(Script(OK), take=lambda size: size < 4)
        assert (outcome.answer, outcome.error.code, outcome.attempts) == (None, ErrorCode.TOO_LARGE, 1)


class TestRepeating:
    @pytest.mark.parametrize("code", [408, 425, 429, 500, 502, 503, 504, 529])
    async def test_passing_troubles_are_repeated_up_to_the_limit(self, ask, time, code):
        outcome = await ask(Script(*[status(code)] * 4), max_attempts=4)
        assert (outcome.error.status, outcome.attempts) == (code, 4)
        assert time.slept == [0.25, 0.5, 1.0]

    async def test_what_was_never_sent_is_repeated(self, ask):
        assert (await ask(Script(lost(Phase.NOTHING_SENT), OK))).attempts == 2

    @pytest.mark.parametrize("phase", [Phase.MAYBE_SENT, Phase.ANSWERED])
    async def test_what_may_have_been_sent_is_repeated_only_where_idempotent(self, ask, phase):
        assert (await ask(Script(lost(phase), OK))).error.code is ErrorCode.CONNECT
        safe = Upstream(kind="plain", url=UPSTREAM.url, idempotent=True)
        assert (await ask(Script(lost(phase), OK), upstream=safe)).attempts == 2

    async def test_retry_after_is_waited_for(self, ask, time):
        await ask(
            Script(status(429, retry_after="7"), status(503, retry_after="Sun, 22 Nov 2026 00:00:09 GMT"), OK)
        )
        assert time.slept == [7.0, 9.0]

    @pytest.mark.parametrize("after", ["10", "99999999999999999999", "Sun, 22 Nov 2026 01:00:00 GMT"])
    async def test_a_retry_after_beyond_the_deadline_fails_at_once(self, ask, time, after):
        outcome = await ask(Script(status(429, retry_after=after), OK), deadline=10.0)
        assert (outcome.error.code, outcome.error.status, outcome.attempts) == (ErrorCode.STATUS, 429, 1)
        assert time.slept == []

    async def test_a_pause_beyond_the_deadline_fails_with_the_error_in_hand(self, ask, time):
        outcome = await ask(Script(status(503), status(502), OK), deadline=0.5)
        assert (outcome.error.status, outcome.attempts) == (502, 2)
        assert time.slept == [0.25]


class TestTime:
    @pytest.mark.parametrize("phase", list(Phase))
    async def test_an_attempts_own_limit_is_a_timeout(self, ask, phase):
        outcome = await ask(Script(phase), timeout_s=0.02, max_attempts=1)
        assert outcome.error.code is ErrorCode.TIMEOUT

    async def test_the_requests_deadline_is_not_the_upstreams_fault(self, ask):
        outcome = await ask(Script(Phase.MAYBE_SENT), timeout_s=5.0, deadline=0.02)
        assert outcome.error.code is ErrorCode.DEADLINE

    async def test_a_timeout_is_repeated_if_nothing_was_sent(self, ask):
        outcome = await ask(Script(Phase.NOTHING_SENT, OK), timeout_s=0.02)
        assert (outcome.error, outcome.attempts) == (None, 2)

    async def test_a_timeout_after_sending_is_repeated_only_where_idempotent(self, ask):
        outcome = await ask(Script(Phase.MAYBE_SENT, OK), timeout_s=0.02)
        assert (outcome.error.code, outcome.attempts) == (ErrorCode.TIMEOUT, 1)
        safe = Upstream(kind="plain", url=UPSTREAM.url, idempotent=True)
        outcome = await ask(Script(Phase.MAYBE_SENT, OK), timeout_s=0.02, upstream=safe)
        assert (outcome.error, outcome.attempts) == (None, 2)

    @pytest.mark.parametrize("deadline", [0.0, -5.0])
    async def test_after_the_deadline_nothing_is_sent(self, ask, deadline):
        transport = Script(OK)
        outcome = await ask(transport, deadline=deadline)
        assert (outcome.error.code, outcome.attempts, transport.sent) == (ErrorCode.DEADLINE, 0, 0)


class TestFaults:
    @pytest.mark.parametrize(
        "fault",
        [KeyError("secret-chunk"), ValueError(), RecursionError(), TimeoutError(), UnicodeError(), OSError()],
    )
    async def test_an_adapters_fault_fails_its_chunk_alone(self, ask, caplog, fault):
        outcome = await ask(Script(OK), adapter=PlainAdapter(fault))
        assert (outcome.error.code, outcome.attempts) == (ErrorCode.INVALID_ANSWER, 1)
        assert type(fault).__name__ in caplog.text
        assert "secret-chunk" not in caplog.text + outcome.error.detail

    async def test_an_adapters_own_refusal_is_kept(self, ask):
        refusal = CallFailed(ErrorCode.INVALID_ANSWER, "no choices", phase=Phase.ANSWERED)
        assert (await ask(Script(OK), adapter=PlainAdapter(refusal))).error.detail == "no choices"

    async def test_cancelling_passes_through(self, ask):
        transport = Script(Phase.MAYBE_SENT)
        task = asyncio.create_task(ask(transport))
        while not transport.sent:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No cycle is collected meanwhile: what is gone went with its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize(
    ("step", "code"),
    [
        (OK, ErrorCode.INVALID_ANSWER),  # no JSON
        (status(503), ErrorCode.STATUS),
        (Phase.MAYBE_SENT, ErrorCode.TIMEOUT),
    ],
)
async def test_a_failed_attempt_leaves_nothing_for_the_garbage_collector(ask, step, code):
    before = _failures()  # what other tests hold
    for _ in range(20):
        outcome = await ask(Script(step), adapter=HttpJson(), timeout_s=0.001, max_attempts=1)
        assert outcome.error.code is code
    assert _failures() == before


def _failures() -> list[CallFailed]:
    return [each for each in gc.get_objects() if isinstance(each, CallFailed)]
