"""The fold port: many answers become one."""

from typing import Any, Protocol

from fanfold.fanout.types import CallResult, FoldOptions


class Fold(Protocol):
    """Folds results, given in order of `index` and failed ones among them, into the output."""

    def __call__(self, results: tuple[CallResult, ...], options: FoldOptions) -> Any:
        """Return the folded output, a JSON value."""
        ...
