"""No fold: the results themselves are the answer."""

from fanfold.fanout.folds.base import Desk, Results
from fanfold.fanout.types import FoldOptions


class List:
    """Who asks for a list reads the results: there is nothing to compute."""

    joins = False

    def calls_max(self, _answers: int) -> int:
        """Return 0."""
        return 0

    async def fold(self, results: Results, options: FoldOptions, desk: Desk) -> None:
        """Return nothing."""
        del results, options, desk
