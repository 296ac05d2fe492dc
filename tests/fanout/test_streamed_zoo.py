"""Every way in which a stream of tokens can go, through the whole engine: its code, what is told, what is billed."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

from fanfold.fanout.service import FanOut
from fanfold.fanout.transports.registry import TRANSPORTS, transport
from fanfold.fanout.types import CallResult, Delta, ErrorCode, FanOutRequest, Split, Upstream
from tests.fanout.transports.calling import LOOPBACK, eventually
from tests.fixtures.figures import Figures
from tests.token_streams import STREAMS
from tests.zoo import Zoo
from tests.zoo_streams import STREAMED

CHUNKS = ("展开", "مع", "👩‍👩‍👧‍👦🇨🇳")
TEXT = "".join(CHUNKS)
TOKENS = (12, 7)


@dataclass(frozen=True, slots=True)
class Case:
    """One behaviour, and what becomes of each chunk. `told`: whether words come before the end of a call that fails."""

    name: str
    code: ErrorCode | None = None
    told: bool = True
    attempts: int = 1
    query: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


THRICE = {"max_attempts": 3}
BRIEF = {"timeout_s": 2.5}
CASES = (
    Case("good"),
    Case("good", query={"ms": 5}),
    Case("at-once"),
    Case("split"),
    Case("uncounted"),
    Case("lingering"),
    Case("ignoring", told=False),
    Case("flaky", attempts=2, options=THRICE),
    Case("cut", ErrorCode.CONNECT, options=THRICE),
    Case("ended", ErrorCode.CONNECT, options=THRICE),
    Case("error", options=THRICE),
    Case("garbage", ErrorCode.INVALID_ANSWER, options=THRICE),
    Case("silent", ErrorCode.TIMEOUT, options={**THRICE, **BRIEF}),
    Case("mute", ErrorCode.TIMEOUT, told=False, options=BRIEF),
    Case("mute", ErrorCode.TIMEOUT, told=False, attempts=2, options={"max_attempts": 2, **BRIEF}),
    Case("endless", ErrorCode.TOO_LARGE, options=THRICE),
    Case("endless", ErrorCode.TIMEOUT, query={"ms": 20}, options={**THRICE, **BRIEF}),
    Case("endless", query={"quiet": 1}, options=BRIEF),
    Case("endless-line", ErrorCode.TOO_LARGE, options=THRICE),
    Case("tool", ErrorCode.INVALID_ANSWER, options=THRICE),
    Case("compressed", ErrorCode.INVALID_ANSWER, told=False, options=THRICE),
    Case("page", ErrorCode.INVALID_ANSWER, told=False, options=THRICE),
    Case("busy", ErrorCode.STATUS, told=False, attempts=3, options=THRICE),
)


def code_of(case: Case, kind: str) -> set[ErrorCode | None]:
    """The codes that a case may have with this kind."""
    match case.name:
        case "error":  # anthropic has a word for it that stands for a status
            return {ErrorCode.STATUS if kind == "anthropic" else ErrorCode.CONNECT}
        case "endless" if case.query.get("quiet"):  # whichever bound comes first
            return {ErrorCode.TIMEOUT, ErrorCode.TOO_LARGE}
    return {case.code}


@pytest.fixture
async def zoo():
    async with Zoo() as zoo:
        yield zoo


@pytest.fixture(params=sorted(TRANSPORTS))
def wire_kind(request):
    return request.param


def upstream(zoo: Zoo, case: Case, kind: str, number: int) -> Upstream:
    return Upstream(
        kind=kind,
        url=zoo.url(f"streams/{case.name}", tag=number, **case.query),
        model="m",
        **{"max_attempts": 1, "idempotent": True, **case.options},
    )


@dataclass(slots=True)
class Outcome:
    """What a reader saw of one request."""

    results: list[CallResult] = field(default_factory=list)
    told: dict[int, str] = field(default_factory=lambda: defaultdict(str))
    is_in_order: bool = True

    def take(self, item: CallResult | Delta) -> None:
        if isinstance(item, CallResult):
            self.results.append(item)
            return
        self.is_in_order &= item.index not in {result.index for result in self.results}
        assert item.text
        self.told[item.index] += item.text


async def read(fan: FanOut, asked: FanOutRequest) -> Outcome:
    outcome = Outcome()
    async with fan.open(await fan.plan(asked)) as run:
        async for item in run:
            outcome.take(item)
    return outcome


def seen(result: CallResult, outcome: Outcome, case: Case, kind: str) -> tuple[Any, ...]:
    code = result.error.code if result.error else None
    return code in code_of(case, kind), result.index in outcome.told, result.attempts


def test_the_table_names_every_behaviour():
    assert {case.name for case in CASES} == set(STREAMED)


def judge(outcome: Outcome, case: Case, kind: str) -> int:
    """Check what a reader saw; return the units billed."""
    assert outcome.is_in_order, case
    assert len(outcome.results) == len(CHUNKS)
    for result in outcome.results:
        assert seen(result, outcome, case, kind) == (True, case.told, case.attempts), (case, result.error)
        if result.success:
            assert result.result == f"«{result.chunk.text}»"
            assert outcome.told.get(result.index, "") == (result.result if case.told else "")
            tokens = (None, None) if case.name == "uncounted" else TOKENS
            assert (result.input_tokens, result.output_tokens) == tokens
    return sum(result.units for result in outcome.results)


async def ask_all(fan: FanOut, zoo: Zoo, kind: str) -> list[Outcome]:
    """Return what became of each case. Those who wait for a time-out begin when the others have done their work."""
    tasks: dict[int, asyncio.Task[Outcome]] = {}
    for is_brief in (False, True):
        async with asyncio.TaskGroup() as group:
            for number, case in enumerate(CASES):
                if ("timeout_s" in case.options) is is_brief:
                    one = upstream(zoo, case, kind, number)
                    asked = FanOutRequest(text=TEXT, upstreams=(one,), split=Split(size=2), deltas=True)
                    tasks[number] = group.create_task(read(fan, asked))
    return [tasks[number].result() for number in range(len(CASES))]


@pytest.mark.parametrize("kind", sorted(STREAMS))
async def test_each_has_its_code_and_is_billed_as_the_zoo_counted(zoo, wire_kind, kind, figures: Figures):
    made: Any = transport(wire_kind, guard=LOOPBACK, max_connections=100)
    tasks_before = len(asyncio.all_tasks())
    async with FanOut(transport=made) as fan:
        outcomes = await ask_all(fan, zoo, kind)
        assert (fan.in_flight, fan.waiting, made.connections) == (0, 0, 0)
    await eventually(lambda: zoo.open == 0)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks_before)
    billed = {str(number): judge(outcomes[number], case, kind) for number, case in enumerate(CASES)}
    served = zoo.served_by_tag
    lost = sum(max(0, served[tag] - billed[tag]) for tag in billed)
    overbilled = sum(max(0, billed[tag] - served[tag]) for tag in billed)
    figures(
        f"streams of the zoo, {kind} by {wire_kind}: {len(CASES)} cases of {len(STREAMED)} behaviours x {len(CHUNKS)} "
        f"chunks: served {zoo.served.total()}, units lost {lost}, over-billed {overbilled}"
    )
    assert (lost, overbilled) == (0, 0)
    assert zoo.served.total() == 8 * len(CHUNKS)


@pytest.mark.parametrize("kind", sorted(STREAMS))
async def test_one_connection_serves_one_stream_after_another(zoo, wire_kind, kind):
    made = transport(wire_kind, guard=LOOPBACK, max_connections=100)
    one = upstream(zoo, Case("good", query={"ms": 2}), kind, 0)
    async with FanOut(transport=made) as fan:
        for _ in range(4):
            outcome = await read(fan, FanOutRequest(text="展开", upstreams=(one,), deltas=True))
            assert outcome.told == {0: "«展开»"}
    assert zoo.connections == 1
