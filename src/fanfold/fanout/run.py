"""One request under way, as its reader sees it: results and deltas as they come, and the answer made of them."""

import asyncio
from collections import deque
from dataclasses import field
from functools import cached_property
from operator import attrgetter
from typing import Any

from fanfold.core.values import value
from fanfold.fanout.types import (
    Call,
    CallError,
    CallResult,
    Delta,
    ErrorCode,
    FanOutAnswer,
    OnError,
    Plan,
    Status,
)

# Members of an enumeration cost a call each time they are named, before Python 3.12.
_SUCCEEDED, _PARTIAL, _FAILED = Status.SUCCEEDED, Status.PARTIAL, Status.FAILED
# Results that may wait for a slow reader before its own fan-out waits too.
_UNREAD = 64
_DETAILS = {
    ErrorCode.DEADLINE: "The request's deadline came first; raise deadline_s or send less.",
    ErrorCode.CANCELLED: "The request ended before this call did.",
    ErrorCode.TOO_LARGE: "The answers of this request are together larger than allowed; send fewer or smaller chunks.",
    ErrorCode.BUDGET: "max_units does not cover this call; raise it or send less.",
}


BY_INDEX = attrgetter("index")


def ended(call: Call, code: ErrorCode) -> CallResult:
    """Return the result of a call that the request's own end, and no upstream, kept from an answer."""
    error = CallError(code=code, status=None, detail=_DETAILS[code])
    return CallResult(
        index=call.index, chunk=call.chunk, upstream=call.candidates[0], success=False, error=error
    )


@value
class _Words:
    """What a call has told and nobody has read yet."""

    index: int
    pieces: list[str] = field(default_factory=list)


class Run:
    """Results as they come: read `results` at any time, or iterate to have each as it finishes, deltas before it.

    A result is in `results` in the very step in which its answer is accepted, so an answer that will be billed is
    never lost, whenever the run ends. Who iterates slowly slows this fan-out and no other: no further call starts,
    and what a call tells meanwhile becomes one longer delta, so that no more of them wait than calls. A run that is
    not `told` has no such reader.
    """

    def __init__(self, plan: Plan, *, told: bool = True) -> None:
        self.plan = plan
        self._told = told
        self.results: list[CallResult] = []
        self.fold_results: list[CallResult] = []
        self._unread: deque[CallResult | _Words] = deque()
        self._unread_results = 0
        self._unread_words: dict[int, _Words] = {}
        self._finished = False
        self._output: Any = None
        self._fold_error: CallError | None = None

    @cached_property
    def _arrived(self) -> asyncio.Event:
        return asyncio.Event()

    @cached_property
    def _was_read(self) -> asyncio.Event:
        return asyncio.Event()

    def __aiter__(self) -> "Run":
        """Iterate over the results and deltas that were not read yet."""
        if not self._told:
            raise RuntimeError(
                "This run is not told: nothing wakes its reader. Read its results once it has ended."
            )
        return self

    async def __anext__(self) -> CallResult | Delta:
        """Return the next result or delta, in order of arrival; after the last one the fold is done."""
        while not self._unread:
            if self._finished:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        first = self._unread.popleft()
        if isinstance(first, _Words):
            del self._unread_words[first.index]
            return Delta(first.index, "".join(first.pieces))
        self._unread_results -= 1
        self._was_read.set()
        return first

    def record(self, result: CallResult) -> None:
        """Add the result of a call."""
        self.results.append(result)
        if not self._told:
            return
        self._unread.append(result)
        self._unread_results += 1
        self._arrived.set()

    def tell(self, index: int, text: str) -> None:
        """Add words that call `index` has told: to those that wait for the reader, where there are any."""
        if not self._told:
            return
        words = self._unread_words.get(index)
        if words is None:
            words = self._unread_words[index] = _Words(index)
            self._unread.append(words)
            self._arrived.set()
        words.pieces.append(text)

    @property
    def is_ahead(self) -> bool:
        """Whether as many results wait for the reader as may."""
        return self._unread_results >= _UNREAD

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        while self.is_ahead:
            self._was_read.clear()
            await self._was_read.wait()

    def missing(self) -> list[Call]:
        """Return the calls that have no result."""
        if len(self.results) == len(self.plan.calls):
            return []
        known = {result.index for result in self.results}
        return [call for call in self.plan.calls if call.index not in known]

    def finish(self, output: Any, fold_error: CallError | None) -> None:
        """Set the fold's output: nothing comes any more."""
        self._output, self._fold_error = output, fold_error
        self._finished = True
        if self._told:
            self._arrived.set()

    @property
    def has_failed(self) -> bool:
        """Whether the request has failed as a whole, by the results there are."""
        return self._status(tuple(self.results)) is _FAILED

    def answer(self) -> FanOutAnswer:
        """Return the whole, in order of index; a call without a result counts as cancelled.

        Without an output where the run was left before its end.
        """
        known = self.results
        if missing := self.missing():
            known = known + [ended(call, ErrorCode.CANCELLED) for call in missing]
        results = tuple(sorted(known, key=BY_INDEX))
        return FanOutAnswer(
            status=self._status(results),
            results=results,
            output=self._output,
            fold_error=self._fold_error,
            fold_results=tuple(self.fold_results),
        )

    def _status(self, results: tuple[CallResult, ...]) -> Status:
        request = self.plan.request
        successful = len([result for result in results if result.success])
        some_failed = successful < len(results)
        if not successful or successful / len(results) < request.min_success:
            return _FAILED
        if some_failed and request.on_error is OnError.FAIL:
            return _FAILED
        return _PARTIAL if some_failed or self._fold_error else _SUCCEEDED
