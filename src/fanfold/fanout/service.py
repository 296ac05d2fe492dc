"""The engine's face: plan a request, open it as a run, or run it whole."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from fanfold.core.offload import Offload
from fanfold.fanout.caller import UpstreamCaller
from fanfold.fanout.counting import Counting
from fanfold.fanout.engine import Engine
from fanfold.fanout.execution import Execution
from fanfold.fanout.fold_calls import fold_units_max, plan_fold_calls
from fanfold.fanout.folds.base import Desk, Results
from fanfold.fanout.guard import AddressGuard
from fanfold.fanout.kinds import Kinds
from fanfold.fanout.planning import are_long, is_long, make_plan, plan_chunks
from fanfold.fanout.resilience import Resilience
from fanfold.fanout.run import Run
from fanfold.fanout.slots import Slots
from fanfold.fanout.transports.base import Transport
from fanfold.fanout.transports.registry import transport as make_transport
from fanfold.fanout.turns import Turns
from fanfold.fanout.types import Chunk, FanOutAnswer, FanOutRequest, FoldOptions, Plan
from fanfold.fanout.work import Work

T = TypeVar("T")

MiB = 1024 * 1024


class FanOut:
    """Splits texts, calls upstreams on the chunks at once and folds the answers; one for a process.

    `async with FanOut() as fan: answer = await fan.run(FanOutRequest(...))`. Closes its transport at the end, also
    one it was given; without one it makes the default, which dials public addresses by https alone. Sizes in bytes;
    `max_in_flight` calls are under way at once over all runs, at most a quarter of them of one run.
    """

    def __init__(  # noqa: PLR0913 (keywords: what it works with)
        self,
        *,
        transport: Transport | None = None,
        offload: Offload | None = None,
        max_answer_bytes: int = 2 * MiB,
        max_answers_bytes: int = 64 * MiB,
        max_in_flight: int = 1000,
        kinds: Kinds | None = None,
        resilience: Resilience | None = None,
    ) -> None:
        self.resilience = resilience or Resilience()
        self._transport = transport
        self._work = Work(offload)
        self._kinds = kinds or Kinds()
        self._slots = Slots()
        self._turns = Turns()
        self._max_answer_bytes = max_answer_bytes
        self._max_answers_bytes = max_answers_bytes
        self._max_in_flight = max_in_flight
        self._engine: Engine | None = None

    async def __aenter__(self) -> Self:
        if self._transport is None:
            self._transport = make_transport(
                "httptools", guard=AddressGuard(), max_connections=self._max_in_flight
            )
        self._engine = Engine(
            caller=UpstreamCaller(
                self._transport,
                max_answer_bytes=self._max_answer_bytes,
                resilience=self.resilience,
                clock=asyncio.get_running_loop().time,
            ),
            breaker=self.resilience.breaker,
            work=self._work,
            kinds=self._kinds,
            slots=self._slots,
            turns=self._turns,
            counting=Counting(work=self._work, slots=self._slots, turns=self._turns),
            max_in_flight=self._max_in_flight,
            max_workers=max(1, self._max_in_flight // 4),
            max_answers_bytes=self._max_answers_bytes,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._engine = None
        if self._transport is not None:
            await self._transport.aclose()

    @property
    def in_flight(self) -> int:
        """Calls under way, for a gauge; 0 when nothing runs."""
        return self._slots.calls

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot or for their turn to start, for a gauge."""
        return self._slots.waiting + self._turns.waiting

    async def plan(self, request: FanOutRequest, *, max_chunks: int | None = None) -> Plan:
        """Return what the request will do and at most cost; calls nothing.

        Raises `InvalidPlan`, `TooManyChunks`, `UnknownKind`, and `Overloaded` where a long text finds no thread.
        """
        plan = partial(make_plan, request, self._kinds, max_chunks=max_chunks)
        return await self._work.run(plan, is_long=is_long(request))

    async def plan_chunks(self, request: FanOutRequest, chunks: tuple[Chunk, ...], *, whole: int) -> Plan:
        """Return the plan of chunks that follow one another, out of `whole`; the request's text is not looked at.

        Their calls are those of the plan of the whole text; a fold is not in it. Raises what `plan` raises.
        """
        plan = partial(plan_chunks, request, self._kinds, chunks, whole=whole)
        return await self._work.run(plan, is_long=are_long(request, chunks))

    def plan_fold_calls(
        self, request: FanOutRequest, texts: Sequence[str], *, first: int, place: int, total: int
    ) -> Plan:
        """Return the plan of some of the calls of a fold that is made outside a run; see `fold_calls`."""
        return plan_fold_calls(request, self._kinds, texts, first=first, place=place, total=total)

    def fold_units_max(self, options: FoldOptions, *, answers: int) -> int:
        """Return what folding so many answers can cost at most. Raises `InvalidPlan`, `UnknownKind`."""
        return fold_units_max(options, self._kinds, answers=answers)

    async def fold(self, options: FoldOptions, results: Results, desk: Desk) -> Any:
        """Return the folded output of results that are in order of index. Raises `FoldFailed`, `UnknownKind`."""
        return await self._kinds.fold(options.by).fold(results, options, desk)

    def fold_asks(self, by: str) -> bool:
        """Tell whether a fold of that kind calls anybody. Raises `UnknownKind`."""
        return self._kinds.fold(by).calls_max(2) > 0

    async def compute(self, function: Callable[[], T], *, is_long: bool) -> T:
        """Return `function()`, off the event loop where it is long."""
        return await self._work.run_anyway(function, is_long=is_long)

    @asynccontextmanager
    async def open(self, plan: Plan) -> AsyncIterator[Run]:
        """Start the calls of a plan; leaving the context cancels those that still run."""
        run = Run(plan)
        execution = Execution(run, self._entered)
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            calls = tasks.create_task(execution.carry_out())
            try:
                yield run
            except Exception as error:  # noqa: BLE001 - the reader's own, raised below: a group would wrap it
                failure = error
            finally:
                calls.cancel()
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # its traceback holds this frame: a cycle around the whole run

    async def carry_out(self, run: Run) -> None:
        """Make all calls of a run that is not told, in this very task: cancelled, it has what was done."""
        await Execution(run, self._entered).carry_out()

    async def run(self, request: FanOutRequest) -> FanOutAnswer:
        """Plan, call, fold. Raises what `plan` raises; what upstreams do wrong is in the answer."""
        run = Run(await self.plan(request), told=False)
        await self.carry_out(run)
        return run.answer()

    @property
    def _entered(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("Enter the FanOut first: async with FanOut(...) as fan.")
        return self._engine
