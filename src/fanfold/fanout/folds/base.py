"""The fold port: many answers become one."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

from fanfold.core.values import value
from fanfold.fanout.types import CallResult, FoldOptions

T = TypeVar("T")
Results = tuple[CallResult, ...]


class Desk(Protocol):
    """What a fold may have done for it."""

    async def compute(self, function: Callable[[], T]) -> T:
        """Return `function()`, off the event loop where the answers are long."""
        ...

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        """Return the answers of the fold's upstream, one for each text, asked at once.

        Each is a call of its own, with its retries and its price. Raises `FoldFailed` where one of them fails.
        """
        ...


class Fold(Protocol):
    """Folds results, given in order of `index` and failed ones among them. Raises `FoldFailed` where it cannot."""

    @property
    def joins(self) -> bool:
        """Whether the separator stands between all answers of the output, so that there must be room for it."""
        ...

    def calls_max(self, answers: int) -> int:
        """Return the most calls that folding so many answers takes."""
        ...

    async def fold(self, results: Results, options: FoldOptions, desk: Desk) -> Any:
        """Return the folded output, a JSON value."""
        ...


@value
class Computed:
    """A fold that asks nobody: `function(results, options)` is its output."""

    function: Callable[[Results, FoldOptions], Any]
    joins: bool = False

    def calls_max(self, _answers: int) -> int:
        """Return 0."""
        return 0

    async def fold(self, results: Results, options: FoldOptions, desk: Desk) -> Any:
        """Return what the function makes of the results."""
        return await desk.compute(partial(self.function, results, options))
