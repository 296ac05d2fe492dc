"""No fold: the results themselves are the answer."""

from fanfold.fanout.folds.base import Results
from fanfold.fanout.types import FoldOptions


def fold_list(results: Results, options: FoldOptions) -> None:
    """Return nothing: who asks for a list reads the results."""
    del results, options
