"""The end of a run: its answers become one, computed here or asked of an upstream."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fanfold.fanout.asking import Asking
from fanfold.fanout.engine import Engine
from fanfold.fanout.errors import FoldFailed
from fanfold.fanout.fold_calls import fold_call, fold_prompts, fold_upstream
from fanfold.fanout.run import BY_INDEX, Run
from fanfold.fanout.types import CallError, ErrorCode

T = TypeVar("T")

_log = logging.getLogger(__name__)

UNFOLDED = CallError(code=ErrorCode.INVALID_ANSWER, status=None, detail="The answers could not be folded so.")

TOO_LARGE = CallError(
    code=ErrorCode.TOO_LARGE, status=None, detail="The folded answer would be larger than allowed."
)

# Folding answers of more bytes than these together takes some 10 ms.
_LONG_FOLD = 1024 * 1024


class Folding:
    """Folds the results of one run, whose calls have all ended; the fold's own desk (`folds.base.Desk`)."""

    def __init__(self, run: Run, asking: Asking, engine: Engine) -> None:
        self._run, self._asking, self._engine = run, asking, engine
        self._options = run.plan.request.fold

    async def carry_out(self) -> None:
        """Set the run's output, or the error of its fold."""
        options = self._options
        fold = self._engine.kinds.fold(options.by)
        if fold.joins:
            separators = len(options.separator.encode()) * len(self._run.results)
            if not self._asking.bytes.take(separators):
                self._run.finish(None, TOO_LARGE)
                return
        if fold.calls_max(2) and self._run.has_failed:
            self._run.finish(None, None)  # nobody is asked, and nothing paid, for a request that has failed
            return
        results = tuple(sorted(self._run.results, key=BY_INDEX))
        try:
            output = await fold.fold(results, options, self)
        except FoldFailed as failure:
            self._run.finish(None, failure.error)
        except Exception as fault:  # noqa: BLE001 - a fold of any kind must not lose the answers, which are billed
            _log.error("Fold %s raised %s.", options.by, type(fault).__name__)
            self._run.finish(None, UNFOLDED)
        else:
            self._run.finish(output, None)

    async def compute(self, function: Callable[[], T]) -> T:
        """Return `function()`, off the event loop where the answers are long."""
        return await self._engine.work.run_anyway(function, is_long=self._asking.bytes.taken > _LONG_FOLD)

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        """Return the answers of the fold's upstream, one for each text, in order. Raises `FoldFailed`."""
        first = len(self._run.plan.calls) + len(self._run.fold_results)
        sheaf = _Sheaf(deque(enumerate(texts)), first=first, total=len(texts))
        width = min(len(texts), fold_upstream(self._options).max_concurrency, self._engine.max_workers)
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._answer(sheaf)) for _ in range(width)]
        for worker in workers:
            if (error := worker.result()) is not None:
                raise FoldFailed(error)
        return [sheaf.answers[place] for place in range(len(texts))]

    async def _answer(self, sheaf: "_Sheaf") -> CallError | None:
        """Make the calls that wait until one fails; return why."""
        options, kinds = self._options, self._engine.kinds
        template = fold_prompts(options, kinds)
        while sheaf.waiting:
            await self._engine.turns.take(self._run.plan.request.owner)
            if not sheaf.waiting:
                break
            # Made and priced in its own turn: thousands of long texts at once would hold the event loop.
            place, text = sheaf.waiting.popleft()
            call = fold_call(options, kinds, text, index=sheaf.first + place, place=place, total=sheaf.total)
            result = await self._asking.result(call, template.prompt(call.chunk, sheaf.total))
            self._run.fold_results.append(result)
            if not result.success:
                sheaf.waiting.clear()  # the fold has failed: what is under way ends, nothing more is asked
                return result.error
            sheaf.answers[place] = result.result
        return None


@dataclass(slots=True)
class _Sheaf:
    """Texts asked about together, by their place among them; `first` is the index of the first one's call."""

    waiting: deque[tuple[int, str]]
    first: int
    total: int
    answers: dict[int, Any] = field(default_factory=dict)
