"""No fold: the results themselves are the answer."""

from fanfold.fanout.types import CallResult, FoldOptions


def fold_list(results: tuple[CallResult, ...], options: FoldOptions) -> None:
    """Return nothing: who asks for a list reads the results."""
    del results, options
