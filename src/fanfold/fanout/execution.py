"""The work of one run: a few workers for each upstream, every one pulling the next call of its group."""

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from contextvars import copy_context
from functools import partial

from fanfold.fanout.asking import Asking
from fanfold.fanout.engine import Engine
from fanfold.fanout.folding import Folding
from fanfold.fanout.run import Run, ended
from fanfold.fanout.template import PromptTemplate
from fanfold.fanout.types import Call, ErrorCode, OnError, Plan


class Execution:
    """Carries out one run until every call has a result, within the request's deadline."""

    def __init__(self, run: Run, engine: Engine) -> None:
        self._run, self._engine = run, engine
        self._request = run.plan.request
        self._prompts = PromptTemplate(self._request.prompt)
        self._asking = Asking(run.plan, engine)
        self._total = run.plan.total
        self._workers: list[asyncio.Task[None]] = []
        self._groups: list[deque[Call]] = []
        self._starts: asyncio.Future[None] | None = None

    async def carry_out(self) -> None:
        """Make the calls, those that never ran get `deadline` or `cancelled`; then fold."""
        calls, turns = self._run.plan.calls, self._engine.turns
        if len(calls) == 1:  # in this very task: another one would cost a good part of what the call does
            if turns.are_taken:  # else what came with it took longer than it does
                await turns.take(self._request.owner)
            await self._work(deque(calls))
        else:
            await self._call_beside_each_other()
        if missing := self._run.missing():
            code = ErrorCode.DEADLINE if self._asking.is_over else ErrorCode.CANCELLED
            for call in missing:
                self._run.record(ended(call, code))
        await Folding(self._run, self._asking, self._engine).carry_out()

    async def _call_beside_each_other(self) -> None:
        groups, asking = _groups(self._run.plan), self._asking
        self._groups = groups
        fair = max(1, self._engine.max_workers // len(groups)) if groups else 0
        starts: deque[deque[Call]] = deque()
        for group in groups:
            starts += [group] * min(asking.strategy.width(group[0].candidates, asking), fair, len(group))
        context = copy_context()  # for each a copy, as if it began here
        async with asyncio.TaskGroup() as tasks:

            def begin() -> None:
                if group := starts.popleft():  # else others have made its calls meanwhile
                    self._workers.append(tasks.create_task(self._work(group), context=context.copy()))

            self._starts = self._engine.turns.start(self._request.owner, begin, times=len(starts))
            await self._starts

    async def _work(self, calls: deque[Call]) -> None:
        """Make calls until there are none; the first one has had its turn to start."""
        run, asking, turns = self._run, self._asking, self._engine.turns
        owner, total = self._request.owner, self._total
        while calls:
            if run.is_ahead:
                await self._caught_up()
            if asking.is_over:
                self._start_no_more()
                return
            if not calls:
                return
            call = calls.popleft()
            tell = partial(run.tell, call.index) if self._request.deltas else None
            result = await asking.result(call, self._prompts.prompt(call.chunk, total), tell)
            run.record(result)
            if not result.success and self._request.on_error is OnError.FAIL:
                self._cancel_others()
                return
            if calls and not turns.take_free():
                await turns.take(owner)

    async def _caught_up(self) -> None:
        """Wait for a reader that is behind, until the request's deadline."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._asking.deadline):
                await self._run.room()

    def _cancel_others(self) -> None:
        for group in self._groups:
            group.clear()
        self._start_no_more()
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()

    def _start_no_more(self) -> None:
        """Give up the starts that have not had their turn, for which the run would wait among those of others."""
        if self._starts is not None and not self._starts.done():
            self._starts.set_result(None)


def _groups(plan: Plan) -> list[deque[Call]]:
    """Return the calls by the upstream they ask first, each group in order of index."""
    groups: defaultdict[str, deque[Call]] = defaultdict(deque)
    for call in plan.calls:
        groups[call.candidates[0].key].append(call)
    return list(groups.values())
