"""The work of one run: a few workers for each upstream, every one pulling the next call of its group."""

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
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
        self._strategy = engine.kinds.strategy(self._request.strategy)
        self._prompts = PromptTemplate(self._request.prompt)
        self._asking = Asking(run.plan, engine)
        self._workers: list[asyncio.Task[None]] = []

    async def carry_out(self) -> None:
        """Make the calls, those that never ran get `deadline` or `cancelled`; then fold."""
        await self._call()
        code = ErrorCode.DEADLINE if self._asking.is_over else ErrorCode.CANCELLED
        for call in self._run.missing():
            self._run.record(ended(call, code))
        await Folding(self._run, self._asking, self._engine).carry_out()

    async def _call(self) -> None:
        calls = self._run.plan.calls
        if len(calls) == 1:  # in this very task: another one would cost a good part of what the call does
            await self._work(deque(calls))
            return
        groups = _groups(self._run.plan)
        fair = max(1, self._engine.max_workers // len(groups)) if groups else 0
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                width = min(self._strategy.width(group[0].candidates), fair, len(group))
                self._workers += [tasks.create_task(self._work(group)) for _ in range(width)]

    async def _work(self, calls: deque[Call]) -> None:
        run, asking, turns = self._run, self._asking, self._engine.turns
        owner, total, is_lone = self._request.owner, run.plan.total, len(run.plan.calls) == 1
        while calls:
            # A lone call needs no line where there is none: what came with it took longer than it does.
            if not is_lone or turns.are_taken:
                await turns.take(owner)
            if run.is_ahead:
                await self._caught_up()
            if asking.is_over or not calls:
                return
            call = calls.popleft()
            tell = partial(run.tell, call.index) if self._request.deltas else None
            result = await asking.result(call, self._prompts.prompt(call.chunk, total), tell)
            run.record(result)
            if not result.success and self._request.on_error is OnError.FAIL:
                self._cancel_others()
                return

    async def _caught_up(self) -> None:
        """Wait for a reader that is behind, until the request's deadline."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._asking.deadline):
                await self._run.room()

    def _cancel_others(self) -> None:
        for worker in self._workers:
            if worker is not asyncio.current_task():
                worker.cancel()


def _groups(plan: Plan) -> list[deque[Call]]:
    """Return the calls by the upstream they ask first, each group in order of index."""
    groups: defaultdict[str, deque[Call]] = defaultdict(deque)
    for call in plan.calls:
        groups[call.candidates[0].key].append(call)
    return list(groups.values())
