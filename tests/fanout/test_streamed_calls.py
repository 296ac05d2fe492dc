"""Calls that tell their text while it comes: when they are made again, what bounds them. The adapter is scripted."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fanfold.fanout.adapters.base import AdapterAnswer, Defaults
from fanfold.fanout.breaker import Breaker
from fanfold.fanout.caller import Terms, UpstreamCaller
from fanfold.fanout.circuit import CircuitRules
from fanfold.fanout.errors import CallFailed, Phase
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.retry_budget import RetryBudgets
from fanfold.fanout.run import Run
from fanfold.fanout.transports.base import UpstreamRequest, UpstreamStream
from fanfold.fanout.types import Delta, ErrorCode, OnError, Prompt, Status, Upstream
from tests.fanout.engine import by_code_points, fan_out, request, upstream
from tests.fanout.test_run_bounds import codes, until

UPSTREAM = Upstream(kind="spoken", url="https://api.example.test/", idempotent=True)
MAX_BYTES = 1000
LOST = CallFailed(ErrorCode.CONNECT, "lost", phase=Phase.ANSWERED)
FOR_EVER = None
Step = str | CallFailed | None


class Speaker:
    """A kind whose attempts play one script after another, the last one for ever; other upstreams have their own."""

    is_ai = True
    defaults = Defaults()

    def __init__(self, *scripts: list[Step], **by_host: list[Step]) -> None:
        self._scripts = list(scripts)
        self._by_host = by_host
        self.asked: list[str] = []
        self.speaking = 0

    async def call(self, upstream, prompt, send):
        raise AssertionError(f"asked for a whole answer: {upstream} {prompt} {send}")

    async def stream(self, upstream, prompt, listen, tell):
        host = upstream.url.removeprefix("https://").split(".")[0]
        self.asked.append(host)
        script = self._by_host.get(host) or (
            self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        )
        async with listen(UpstreamRequest("POST", upstream.url, {}, prompt.text.encode())):
            self.speaking += 1
            try:
                return AdapterAnswer("".join([await self._said(step, tell) for step in script]))
            finally:
                self.speaking -= 1

    async def _said(self, step: Step, tell) -> str:
        await asyncio.sleep(0)
        if step is FOR_EVER:
            await asyncio.Event().wait()
        if isinstance(step, CallFailed):
            raise step
        tell(step)
        return step or ""

    def check(self, upstream):
        assert upstream.url

    def texts(self, upstream, prompt):
        return [upstream.url, prompt.text]

    def output_tokens_bound(self, upstream):
        return upstream.max_attempts


class Heads:
    """A transport whose answers have a status and nothing else."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)

    async def send(self, request, *, max_bytes, progress):
        raise AssertionError(f"asked for a whole answer: {request} {max_bytes} {progress}")

    @asynccontextmanager
    async def stream(self, request, *, max_bytes, progress):
        assert (request.method, max_bytes) == ("POST", MAX_BYTES)
        progress.phase = Phase.ANSWERED
        await asyncio.sleep(0)
        status = self._statuses.pop(0) if self._statuses else 200
        yield UpstreamStream(status, {}, _nothing(), max_bytes)

    async def aclose(self):
        self._statuses.clear()


async def _nothing():
    for piece in (b"",):
        yield piece


@pytest.fixture
def breaker():
    return Breaker(rules=CircuitRules(lasting_s=0.0), clock=lambda: 1000.0, random=lambda: 0.0)


@pytest.fixture
def resilience(breaker):
    return Resilience(breaker=breaker, retry_budgets=RetryBudgets(clock=lambda: 1000.0))


@pytest.fixture
def ask(resilience):
    """Calls once; returns the outcome and what was told."""

    async def asked(
        speaker, *statuses, one=UPSTREAM, timeout_s=5.0, deadline=60.0, max_attempts=3, **options
    ):
        told: list[str] = []
        caller = UpstreamCaller(
            Heads(*statuses), max_answer_bytes=MAX_BYTES, resilience=resilience, random=lambda: 0.0
        )
        async with asyncio.timeout(30):
            terms = Terms(
                upstream=one,
                adapter=speaker,
                timeout_s=timeout_s,
                max_attempts=max_attempts,
                deadline=asyncio.get_running_loop().time() + deadline,
                **options,
            )
            outcome = await caller.call(terms, Prompt("你好", 0, 1), told.append)
        return outcome, told

    return asked


class TestTellingOnce:
    async def test_before_the_first_word_it_is_tried_again(self, ask):
        speaker = Speaker([LOST], ["", LOST], ["先", "展开"])
        outcome, told = await ask(speaker)
        assert (outcome.error, outcome.attempts, told) == (None, 3, ["先", "展开"])

    async def test_from_the_first_word_on_it_is_not(self, ask):
        speaker = Speaker(["先", LOST], ["先", "展开"])
        outcome, told = await ask(speaker)
        assert (outcome.answer, outcome.error.code, outcome.attempts) == (None, ErrorCode.CONNECT, 1)
        assert "was told already" in outcome.error.detail
        assert (told, outcome.has_told) == (["先"], True)

    async def test_what_is_never_repeated_does_not_say_why_not(self, ask):
        invalid = CallFailed(ErrorCode.INVALID_ANSWER, "no", phase=Phase.ANSWERED)
        outcome, _ = await ask(Speaker(["先", invalid]))
        assert outcome.error.detail == "no"

    async def test_a_refused_status_is_tried_again_as_usual(self, ask):
        outcome, told = await ask(Speaker(["好"]), 503, 429)
        assert (outcome.error, outcome.attempts, told) == (None, 3, ["好"])
        outcome, told = await ask(Speaker(["好"]), 404)
        assert (outcome.error.code, outcome.error.status, told) == (ErrorCode.STATUS, 404, [])

    async def test_no_word_is_told_of_a_retry_that_costs_no_budget(self, ask, resilience):
        one = Upstream(kind="spoken", url="https://api.example.test/", idempotent=True)
        for _ in range(5):
            await ask(Speaker(["先", LOST]), one=one)
        left = 0
        while resilience.retry_budgets.take(None, one):
            left += 1
        assert left == 100


class TestBounds:
    async def test_a_silence_in_the_middle_is_a_timeout_and_the_deadline_is_the_deadline(self, ask):
        outcome, told = await ask(Speaker(["先", FOR_EVER]), timeout_s=0.5)
        assert (outcome.error.code, outcome.attempts, told) == (ErrorCode.TIMEOUT, 1, ["先"])
        outcome, told = await ask(Speaker(["先", FOR_EVER]), deadline=0.5)
        assert (outcome.error.code, told) == (ErrorCode.DEADLINE, ["先"])

    async def test_text_up_to_the_cap_is_told_and_nothing_beyond(self, ask):
        outcome, told = await ask(Speaker(["先" * 333, "x"]))
        assert (outcome.error, len("".join(told).encode())) == (None, MAX_BYTES)
        outcome, told = await ask(Speaker(["先" * 333, "xy"]))
        assert (outcome.error.code, outcome.attempts, told) == (ErrorCode.TOO_LARGE, 1, ["先" * 333])

    async def test_an_answer_beyond_what_the_request_may_hold_is_too_large(self, ask):
        outcome, _ = await ask(Speaker(["先"]), take=lambda _size: False)
        assert (outcome.answer, outcome.error.code) == (None, ErrorCode.TOO_LARGE)

    async def test_streams_that_fail_open_the_circuit_and_those_that_are_cancelled_do_not(self, ask, breaker):
        for _ in range(12):
            task = asyncio.create_task(ask(Speaker(["先", FOR_EVER])))
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])
        assert not breaker.is_open(None, UPSTREAM)
        for _ in range(10):
            await ask(Speaker(["先", LOST]))
        assert breaker.is_open(None, UPSTREAM)
        outcome, told = await ask(Speaker(["先"]))
        assert (outcome.error.code, outcome.attempts, told) == (ErrorCode.CIRCUIT_OPEN, 0, [])


def speaking(speaker: Speaker, **settings: Any):
    kinds = Kinds(splitter=lambda _kind: by_code_points, adapter=lambda _kind: speaker)
    return fan_out(Heads(), kinds=kinds, max_answer_bytes=MAX_BYTES, **settings)


def asked(chunks: int, *hosts: str, **fields: Any):
    fast = {"idempotent": True, "max_attempts": 1}
    return request(chunks, *(upstream(host, **fast) for host in hosts or "a"), deltas=True, **fields)


async def read(run: Run) -> tuple[dict[int, str], list[int]]:
    told: dict[int, str] = {}
    ended: list[int] = []
    async for item in run:
        if isinstance(item, Delta):
            assert item.index not in ended
            told[item.index] = told.get(item.index, "") + item.text
        else:
            ended.append(item.index)
    return told, ended


class TestRuns:
    async def test_another_candidate_is_asked_before_the_first_word(self):
        speaker = Speaker(a=[LOST], b=["好", "的"])
        async with (
            speaking(speaker) as fan,
            fan.open(await fan.plan(asked(3, *"ab", strategy="fallback"))) as run,
        ):
            told, ended = await read(run)
        assert (told, sorted(ended)) == (dict.fromkeys(range(3), "好的"), [0, 1, 2])
        assert run.answer().status is Status.SUCCEEDED

    async def test_no_other_candidate_is_asked_after_it(self):
        speaker = Speaker(a=["先", LOST], b=["好"])
        async with (
            speaking(speaker) as fan,
            fan.open(await fan.plan(asked(3, *"ab", strategy="fallback"))) as run,
        ):
            told, _ = await read(run)
        assert told == dict.fromkeys(range(3), "先")
        assert codes(run.answer()) == [ErrorCode.CONNECT] * 3
        assert set(speaker.asked) == {"a"}
        assert run.answer().units == 0

    async def test_one_that_fails_ends_those_that_are_speaking(self):
        speaker = Speaker(a=["先", FOR_EVER], b=["先", LOST])
        plan = asked(6, *"ab", on_error=OnError.FAIL)
        async with speaking(speaker) as fan, fan.open(await fan.plan(plan)) as run:
            await read(run)
            assert (speaker.speaking, fan.in_flight) == (0, 0)
        assert run.answer().status is Status.FAILED

    async def test_the_deadline_ends_what_is_speaking(self):
        speaker = Speaker(["先", FOR_EVER])
        async with speaking(speaker) as fan, fan.open(await fan.plan(asked(5, deadline_s=1.0))) as run:
            told, _ = await read(run)
            assert (speaker.speaking, fan.in_flight) == (0, 0)
        assert told == dict.fromkeys(range(5), "先")
        assert codes(run.answer()) == [ErrorCode.DEADLINE] * 5

    async def test_slots_are_held_while_it_speaks(self):
        speaker = Speaker(["先", FOR_EVER])
        narrow = request(9, upstream("a", max_concurrency=2, max_attempts=1), deltas=True)
        async with speaking(speaker) as fan, fan.open(await fan.plan(narrow)) as run:
            told = [await anext(run), await anext(run)]
            await asyncio.sleep(0.05)
            assert (speaker.speaking, fan.in_flight, len(speaker.asked)) == (2, 2, 2)
        assert {item.text for item in told if isinstance(item, Delta)} == {"先"}
        assert (speaker.speaking, fan.in_flight, fan.waiting) == (0, 0, 0)


class TestSlowReader:
    async def test_what_is_under_way_ends_and_nothing_more_begins(self):
        speaker = Speaker([*"先展开再折叠", "。"])
        narrow = request(500, upstream("a", max_concurrency=10), deltas=True)
        async with speaking(speaker) as fan, fan.open(await fan.plan(narrow)) as run:
            await until(lambda: len(run.results) >= 64 and not speaker.speaking)
            for _ in range(1000):
                await asyncio.sleep(0)
            assert 64 <= len(run.results) == len(speaker.asked) <= 64 + 10
            assert (fan.in_flight, fan.waiting) == (0, 0)
            waiting = len(run.results)
            told, ended = await read(run)
        assert (len(told), len(ended)) == (500, 500)
        assert set(told.values()) == {"先展开再折叠。"}
        assert waiting < 500

    async def test_its_upstreams_are_free_for_others_meanwhile(self):
        speaker = Speaker([*"先展开"])
        narrow = request(300, upstream("a", max_concurrency=2), deltas=True)
        async with speaking(speaker) as fan, fan.open(await fan.plan(narrow)) as slow:
            await until(lambda: slow.is_ahead)
            async with asyncio.timeout(20), fan.open(await fan.plan(narrow)) as other:
                _, ended = await read(other)
            assert len(ended) == 300
            assert len(slow.results) < 300
